"""How much job ads ask for each concept, whatever the single sentence says.

    python -m training.prior --data ../shared/data

Every span that experts marked in SkillSpan (train), and every span that the span finder sees in
unlabelled ads, speaks for the concepts next to it, the nearer the more. Nobody says which one is
right; summed up over many spans it still tells concepts that ads ask for ("solve problems") from
those that only look alike ("solve problems in healthcare"). A concept that we judged a sentence to
mean (`training/data/judged/`, without what is held out) counts like several of them. Writes
extractor/models/prior.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from extractor.components import SkillLinker, batches
from extractor.encoders import CachedEncoder
from extractor.interfaces import Vectors
from extractor.pipeline import SkillExtractor, make_doc, run_pipes
from extractor.zones import mask_markup
from training.judged import is_held_out, read_judged
from training.rows import read_rows

TARGET = Path(__file__).parents[1] / "extractor" / "models" / "prior.json"
NEAR = 8
"""Concepts that a span may speak for."""
SHARPNESS = 20.0
"""Of the softmax over their cosines: the inverse temperature that the encoder was trained with."""
LEAST = 0.45
"""Cosine below which a span speaks for no concept."""
SMOOTHING = 0.05
"""Spans that every concept is given, so that none is impossible."""
JUDGED = 5.0
"""Spans that a judgement counts for."""
LONGEST = 10
"""Words of a span, beyond which it says several things."""


def of_experts(encoder: CachedEncoder, rows: Sequence[dict[str, Any]]) -> Iterator[Vectors]:
    """Vectors of marked spans, a batch at a time."""
    marked = [row for row in rows if row["spans"]]
    for batch in batches(marked, 256):
        places = [
            [
                (span["start"], span["end"])
                for span in row["spans"]
                if len(span["text"].split()) <= LONGEST
            ]
            for row in batch
        ]
        yield np.concatenate(encoder.encode_parts([row["text"] for row in batch], places)[1])


def of_ads(engine: SkillExtractor, rows: Sequence[dict[str, Any]]) -> Iterator[Vectors]:
    """Vectors of found spans, a batch at a time."""
    for batch in batches(rows, 16):
        docs = (make_doc(engine.nlp, mask_markup(row["text"])) for row in batch)
        texts: list[str] = []
        places: list[list[tuple[int, int]]] = []
        for doc in run_pipes(engine.nlp, docs, ("jobshift_zones", "jobshift_spans")):
            found = list(doc.spans["skill_spans"])
            for sentence in doc.spans["sentences"]:
                start, end = sentence.start_char, sentence.end_char
                inside = [
                    (span.start_char - start, span.end_char - start)
                    for span in found
                    if start <= span.start_char and span.end_char <= end and len(span) <= LONGEST
                ]
                if inside:
                    texts.append(sentence.text)
                    places.append(inside)
        if texts:
            yield np.concatenate(engine.resources.encoder.encode_parts(texts, places)[1])


def main() -> None:
    """Count, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--ads", type=int, default=1800, help="how many ads are read at most")
    options = parser.parse_args()

    engine = SkillExtractor.load("default")
    linker: SkillLinker = engine.nlp.get_pipe("jobshift_linker")  # type: ignore[assignment]
    index = linker.resources.index.skills
    positions = np.flatnonzero(~index.is_tool)
    labels = index.forms.vectors(index.bare[positions])
    mass = np.zeros(len(positions))
    spans = 0
    marked = read_rows(options.data / "skillspan/train.jsonl")
    # How much the prior is worth is fitted on the ads that are held out.
    experts = of_experts(
        engine.resources.encoder, [row for row in marked if not is_held_out(row["posting"])]
    )
    unlabelled = read_rows(options.data / "ads/ads.jsonl")[: options.ads]
    ads = of_ads(engine, [row for row in unlabelled if not is_held_out(row["id"])])
    for source in (experts, ads):
        for vectors in source:
            cosines = vectors @ labels.T
            near = np.argpartition(-cosines, NEAR, axis=1)[:, :NEAR]
            of_near = np.take_along_axis(cosines, near, axis=1)
            shares = np.exp(SHARPNESS * of_near)
            shares *= (of_near >= LEAST) / shares.sum(axis=1, keepdims=True)
            np.add.at(mass, near.ravel(), shares.ravel())
            spans += len(vectors)
        print(f"{spans:,} spans", flush=True)
    place = {index.concepts[position].id: row for row, position in enumerate(positions)}
    rows = [row for row in read_judged(options.data) if not row.held_out]
    judged = [place[concept] for row in rows for concept in row.meant if concept in place]
    np.add.at(mass, np.array(judged, dtype=np.int64), JUDGED)
    print(f"{len(judged):,} judgements")
    logarithms = {
        index.concepts[position].id: round(math.log(1.0 + value / SMOOTHING), 2)
        for position, value in zip(positions, mass, strict=True)
        if value >= SMOOTHING
    }
    best = sorted(logarithms, key=lambda i: -logarithms[i])[:20]
    print(len(logarithms), "concepts; most:", [engine.taxonomy[i].label for i in best])
    TARGET.write_text(
        json.dumps({"spans": spans, "judged": len(judged), "concepts": logarithms}, indent=0)
        + "\n",
        "utf-8",
    )


if __name__ == "__main__":
    main()
