"""How fast files of ads are read: both encoders, one worker and several, in 8 and in 32 bits.

    python -m eval.throughput ads.jsonl --limit 400

Every setting loads its engine in a fresh process and reads the same ads by `run_batch` into a
Parquet file: one worker on as many threads as PyTorch takes, several on one each. Then single ads
that were not among them are read one by one, and again once they are known.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval.rows import Row, read_rows
from extractor.zones import find_zones, split_sentences

SINGLE = 40
"""Ads that are read one by one."""
BEST, FLOAT32 = "best", "float32"


class Speed(NamedTuple):
    """What one setting gave.

    Attributes:
        encoder: Name of the encoder.
        workers: Processes that read.
        arithmetic: That of trained layers; what the processor is best at, or `float32`.
        load: Seconds until the engine is loaded.
        ads: Ads a second, the file and its writing included.
        memory: Most memory of all processes together, in MB.
        p50: Median seconds of a single ad.
        p95: The seconds that 95 % of single ads do not exceed.
        warm: Median seconds of a single ad that was read before.
    """

    encoder: str
    workers: int
    arithmetic: str
    load: float
    ads: float
    memory: float
    p50: float
    p95: float
    warm: float


def measure(
    file: Path, single: list[str], taxonomy: str, encoder: str, workers: int, arithmetic: str
) -> Speed:
    """Read a file and single ads in this process, a fresh one."""
    if arithmetic == FLOAT32:
        from extractor import int8

        # Before anybody has asked.
        int8.is_able = lambda: False  # type: ignore[assignment]
        int8.has_bfloat16 = lambda: False

    from extractor.batch import run_batch
    from extractor.pipeline import SkillExtractor

    began = time.perf_counter()
    engine = SkillExtractor.load(taxonomy, encoder=encoder)
    load = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        summary = run_batch(engine, file, Path(folder) / "results.parquet", workers=workers)
    engine.extract(single[0])  # makes what is made at the first call

    def seconds(text: str) -> float:
        started = time.perf_counter()
        engine.extract(text)
        return time.perf_counter() - started

    cold = [seconds(text) for text in single[1:]]
    warm = [seconds(text) for text in single[1:]]
    return Speed(
        encoder,
        workers,
        arithmetic,
        load,
        summary.ads_per_s,
        summary.peak_memory_mb or float("nan"),
        statistics.median(cold),
        float(np.percentile(cold, 95)),
        statistics.median(warm),
    )


def main() -> None:
    """Measure all settings, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, help="ads, JSONL")
    parser.add_argument("--limit", type=int, default=400, help="ads that are read as a file")
    parser.add_argument("--taxonomy", default="default")
    parser.add_argument("--encoders", nargs="+", default=["accurate", "fast"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--arithmetic", nargs="+", choices=[BEST, FLOAT32], default=[BEST, FLOAT32])
    options = parser.parse_args()

    rows = read_rows([options.file], Row)
    many, single = rows[: options.limit], rows[options.limit : options.limit + SINGLE]
    if len(single) < 2:
        parser.error(f"{options.file} has {len(rows)} ads, wanted at least {options.limit + 2}")
    sentences = statistics.mean(
        len(split_sentences(row.text, find_zones(row.text))) for row in many
    )
    columns = ("encoder", "workers", "arithmetic", "load s", "ads/s", "sentences/s", "memory MB")
    print("|", " | ".join((*columns, "p50 s", "p95 s", "warm s")), "|")
    print("| --- " * (len(columns) + 3) + "|")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ads.jsonl"
        lines = (
            json.dumps({"id": number, "text": row.text}) + "\n" for number, row in enumerate(many)
        )
        file.write_text("".join(lines), encoding="utf-8")
        texts = [row.text for row in single]
        settings = product(options.encoders, options.arithmetic, options.workers)
        for encoder, arithmetic, workers in settings:
            given = (file, texts, options.taxonomy, encoder, workers, arithmetic)
            # A fresh process: memory and load time are those of this setting alone.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                found = pool.submit(measure, *given).result()
            print(
                f"| {found.encoder} | {found.workers} | {found.arithmetic} | {found.load:.1f} "
                f"| {found.ads:.2f} | {found.ads * sentences:,.0f} "
                f"| {found.memory:,.0f} | {found.p50:.3f} | {found.p95:.3f} "
                f"| {found.warm:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
