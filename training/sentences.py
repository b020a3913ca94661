"""Sentences that the linker's encoder learns from: real ones, with the names and phrases in them.

    python -m training.sentences --data ../shared/data --out sentences.jsonl

Reads job ads and the training sentences of SkillSpan, keeps those in which the span finder or the
matcher sees something, and writes one JSON line a sentence: its text, its candidate phrases (of
SkillSpan, what experts marked, and items of lists) and the names of concepts that stand in it
(distant supervision: nobody looked at these). A clear name is one of two words or more, or one that
the matcher is sure of.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from spacy.tokens import Span

from extractor.components import Mentions, SkillLinker
from extractor.phrases import candidate_phrases
from extractor.pipeline import SkillExtractor, make_doc
from extractor.zones import mask_markup
from training.rows import read_rows

WORDS = range(4, 61)
"""Lengths of sentences that are kept: shorter ones are headings, longer ones are run together."""

CLEAR_FIT = 0.7


def sentence_row(span: Span, spans: list[tuple[int, int]]) -> dict[str, Any]:
    """What the trainer needs of a sentence.

    Args:
        span: The sentence in a document with mentions.
        spans: Parts of it that may name a skill, as offsets in the document.

    Returns:
        `text`; `phrases` as offset pairs; `names` as [start, end, concept ids]. Offsets are those
        of the sentence.
    """
    shift, end = span.start_char, span.end_char
    attrs = span.doc.spans["mentions"].attrs
    names = [
        (left - shift, right - shift, [i for i, fit in concepts if fit >= CLEAR_FIT])
        for left, right, concepts in zip(
            attrs["start"], attrs["end"], attrs["concepts"], strict=True
        )
        if shift <= left and right <= end
    ]
    return {
        "text": span.text,
        "phrases": sorted({(left - shift, right - shift) for left, right in spans}),
        "names": [name for name in names if name[2]],
    }


def ad_sentences(engine: SkillExtractor, ads: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Sentences of ads outside of title and boilerplate."""
    linker: SkillLinker = engine.nlp.get_pipe("jobshift_linker")  # type: ignore[assignment]
    pipes = ["jobshift_zones", "jobshift_mentions", "jobshift_spans"]
    with engine.nlp.select_pipes(enable=pipes):
        docs = (make_doc(engine.nlp, mask_markup(ad["text"])) for ad in ads)
        for doc in engine.nlp.pipe(docs, batch_size=8):
            for sentence, query in linker.queries(doc):
                span = doc.char_span(sentence.start, sentence.end, alignment_mode="expand")
                if span is not None and len(span.text.split()) in WORDS:
                    yield sentence_row(span, [(p.start, p.end) for p in query.phrases])


def span_sentences(engine: SkillExtractor, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Sentences in which experts marked skills."""
    mentions: Mentions = engine.nlp.get_pipe("jobshift_mentions")  # type: ignore[assignment]
    for row in rows:
        doc = mentions(make_doc(engine.nlp, row["text"]))
        marked = [(span["start"], span["end"]) for span in row["spans"]]
        items = [(phrase.start, phrase.end) for phrase in candidate_phrases(doc[:])]
        yield sentence_row(doc[:], marked + items)


def main() -> None:
    """Read, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ads", type=int, default=2600, help="how many ads are read at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    engine = SkillExtractor.load("default")
    ads = read_rows(options.data / "ads/ads.jsonl")
    random.Random(options.seed).shuffle(ads)  # noqa: S311 - a sample, not a secret
    spans = [row for row in read_rows(options.data / "skillspan/train.jsonl") if row["spans"]]
    seen: set[str] = set()
    with options.out.open("w", encoding="utf-8") as file:
        for row in chain(span_sentences(engine, spans), ad_sentences(engine, ads[: options.ads])):
            if row["text"] not in seen and (row["phrases"] or row["names"]):
                seen.add(row["text"])
                file.write(json.dumps(row) + "\n")
    print(f"{len(seen):,} sentences in {options.out}")


if __name__ == "__main__":
    main()
