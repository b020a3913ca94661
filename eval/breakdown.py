"""Where the time of an ad goes, component by component.

    OMP_NUM_THREADS=1 python -m eval.breakdown ads.jsonl --limit 96

Ads go through the pipeline in batches, one component after the other, on one thread; times are
those of the processor. The time of the encoder is told apart from that of the component that asks
for a reading first; the others find what was read. Then the same ads are read without the span
finder; the linker looks at every sentence then, and has fewer phrases.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from spacy.tokens import Doc

from eval.rows import Row, read_rows
from extractor.components import batches
from extractor.encoders import CachedEncoder
from extractor.pipeline import SkillExtractor, make_doc
from extractor.zones import mask_markup

BATCH = 32
ENCODER = "encoder"
WITHOUT = "jobshift_spans"


def clocked(spent: Counter[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; what it takes is added up under a name."""

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.process_time()
        try:
            return call(*arguments, **options)
        finally:
            spent[name] += time.process_time() - began  # type: ignore[assignment]

    return timed


def measure(
    engine: SkillExtractor, texts: Sequence[str], leave_out: Iterable[str] = ()
) -> Counter[str]:
    """Seconds of the processor by component, for all texts.

    Args:
        engine: A loaded engine; it forgets what it has read.
        texts: Ads.
        leave_out: Components that are passed over.
    """
    spent: Counter[str] = Counter()
    cached: CachedEncoder = engine.resources.encoder
    cached.forget()
    inner = cached.encoder
    for method in ("read", "encode"):
        if hasattr(inner, method):
            setattr(inner, method, clocked(spent, ENCODER, getattr(inner, method)))
    try:
        for batch in batches(texts, BATCH):
            began = time.process_time()
            docs: list[Doc] = [make_doc(engine.nlp, mask_markup(text)) for text in batch]
            spent["tokenizer"] += time.process_time() - began  # type: ignore[assignment]
            for name, pipe in engine.nlp.pipeline:
                if name in leave_out:
                    continue
                began, encoding = time.process_time(), spent[ENCODER]
                docs = list(pipe.pipe(iter(docs), batch_size=len(docs)))  # type: ignore[attr-defined]
                own = time.process_time() - began - (spent[ENCODER] - encoding)
                spent[name] += own  # type: ignore[assignment]
    finally:
        for method in ("read", "encode"):
            inner.__dict__.pop(method, None)
    return spent


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, help="ads")
    parser.add_argument("--limit", type=int, default=96, help="how many ads are read")
    parser.add_argument("--taxonomy", default="default")
    parser.add_argument("--encoder", default="accurate")
    options = parser.parse_args()

    torch.set_num_threads(1)
    rows = read_rows([options.file], Row)[: options.limit]
    texts = [row.text for row in rows]
    engine = SkillExtractor.load(options.taxonomy, encoder=options.encoder)
    list(engine.extract_batch(["Plan the budget of a department and train staff in Excel."]))
    whole = measure(engine, texts)
    without = measure(engine, texts, leave_out=[WITHOUT])
    total = whole.total()
    print(f"{len(texts)} ads, encoder {options.encoder}, one thread, ms of the processor an ad")
    print("| component | ms | share |\n| --- | --- | --- |")
    for name, seconds in whole.most_common():
        print(f"| {name} | {1000 * seconds / len(texts):.1f} | {seconds / total:.0%} |")
    print(f"| all | {1000 * total / len(texts):.1f} | |")
    ratio = total / without.total()
    print(f"without {WITHOUT} {1000 * without.total() / len(texts):.1f} ms: {ratio:.2f} times")


if __name__ == "__main__":
    main()
