"""What each part of the linker gives, beside simple systems on the same sentences.

    python -m eval.ablation --taxonomy esco-1.1.1 house.jsonl tech.jsonl

Ranks all skills for every labelled sentence, by the linker as shipped, with one part of its score
left out, with the encoder `fast`, and by four baselines; prints MRR and RP@5 with bootstrap
intervals over sentences, and sentences a second: the whole way from text to ranking (systems that
share vectors with an earlier one have none), and the encoders alone. Both encoders must have their
index. Speeds are those of one run on one machine, wall time; set OMP_NUM_THREADS=1 for those of one
thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

import taxonomies
from eval.baselines import BM25, ExactLabels
from eval.metrics import bootstrap, mean, r_precision_at, reciprocal_rank
from eval.report import cell
from eval.rows import LinkingRow, read_rows
from extractor.encoders import (
    MODELS,
    MiniLMEncoder,
    SentenceTransformerEncoder,
    load_encoder,
    minilm_folder,
)
from extractor.interfaces import Encoder
from extractor.linker import RANKED_BY
from extractor.pipeline import SkillExtractor
from taxonomies import Concept
from taxonomies.records import SKILL_KINDS

DEPTH = 50

Rank = Callable[[Sequence[str]], list[list[str]]]


def read_gold(path: Path, known: set[str]) -> dict[str, set[str]]:
    """Sentences with the ids of their concepts; those without a concept are left out."""
    gold: dict[str, set[str]] = {}
    for row in read_rows([path], LinkingRow):
        ids = {link.uri for link in row.links if link.uri} & known
        if ids:
            gold.setdefault(row.text, set()).update(ids)
    return gold


def zero_shot(concepts: Sequence[Concept]) -> Rank:
    """The sentence against the labels, by MiniLM as sentence-transformers runs it."""
    encoder = SentenceTransformerEncoder("minilm", str(minilm_folder()))
    labels = faiss.IndexFlatIP(encoder.dimension)
    labels.add(encoder.encode([concept.label for concept in concepts]))

    def rank(texts: Sequence[str]) -> list[list[str]]:
        _, rows = labels.search(encoder.encode(texts), DEPTH)
        return [[concepts[row].id for row in found] for found in rows]

    return rank


def tfidf(concepts: Sequence[Concept]) -> Rank:
    """Cosine of weighted words with the best name of each concept."""
    vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    names = vectorizer.fit_transform([name for concept in concepts for name in concept.names])
    starts = np.cumsum([0, *(len(concept.names) for concept in concepts[:-1])])

    def rank(texts: Sequence[str]) -> list[list[str]]:
        ranked = []
        for row in vectorizer.transform(texts):
            scores = np.maximum.reduceat((names @ row.T).toarray().ravel(), starts)
            best = np.argsort(-scores, kind="stable")[:DEPTH]
            ranked.append([concepts[position].id for position in best if scores[position] > 0])
        return ranked

    return rank


def exact(concepts: Sequence[Concept]) -> Rank:
    """Labels that stand in the sentence, in its order."""
    labels = ExactLabels(concepts)
    return lambda texts: [[match.concept_id for match in labels.find(text)] for text in texts]


def linked(engine: SkillExtractor) -> Rank:
    """The engine's own ranking."""
    return lambda texts: [
        [candidate.concept_id for candidate in found] for found in engine.link_batch(texts, k=DEPTH)
    ]


def variants(engine: SkillExtractor) -> Iterator[tuple[str, Rank]]:
    """The linker with other weights, one variant at a time."""
    linker = engine.nlp.get_pipe("jobshift_linker").linker  # type: ignore[attr-defined]
    shipped = linker.model
    for number, part in enumerate(RANKED_BY):
        weights = list(shipped.weights)
        weights[number] = 0.0
        linker.model = replace(shipped, weights=tuple(weights))
        yield f"without `{part}`", linked(engine)
    linker.model = replace(shipped, weights=(1.0, *[0.0] * (len(RANKED_BY) - 1)))
    yield "`sentence` alone", linked(engine)
    linker.model = shipped


def systems(taxonomy: str) -> Iterator[tuple[str, Rank, bool]]:
    """Name, ranking, and whether its time tells anything."""
    concepts = list(taxonomies.load(taxonomy).of_kind(*SKILL_KINDS))
    yield "exact labels", exact(concepts), True
    yield "TF-IDF over names", tfidf(concepts), True
    bm25 = BM25(concepts)
    yield "BM25 over names", lambda texts: bm25.rank(texts, DEPTH), True
    yield "MiniLM as it comes, whole sentence", zero_shot(concepts), True
    engine = SkillExtractor.load(taxonomy)
    warm_up(engine)
    yield "`accurate`, as shipped", linked(engine), True
    for name, rank in variants(engine):
        yield name, rank, False
    fast = SkillExtractor.load(taxonomy, encoder="fast")
    warm_up(fast)
    yield "`fast`", linked(fast), True


def encoder_speeds(texts: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Sentences a second of the encoders alone."""
    encoders: dict[str, Encoder] = {
        "MiniLM by sentence-transformers": SentenceTransformerEncoder(
            "minilm", str(minilm_folder())
        ),
        "`accurate`": load_encoder("accurate"),
        "`accurate`, without 8-bit integers": MiniLMEncoder(
            "accurate", MODELS / "minilm.safetensors", integers=False
        ),
        "`fast`": load_encoder("fast"),
    }
    for name, encoder in encoders.items():
        encoder.encode(texts[:8])
        began = time.perf_counter()
        encoder.encode(texts)
        yield name, len(texts) / (time.perf_counter() - began)


def warm_up(engine: SkillExtractor) -> None:
    """Make what is made at the first call."""
    engine.link("Plan the budget of a department.")


def main() -> None:
    """Rank, score, print one row of a table a system."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", type=Path, nargs="+", help="labelled sentences")
    parser.add_argument("--taxonomy", default="esco-1.1.1", help="installed taxonomy of the labels")
    options = parser.parse_args()

    known = {concept.id for concept in taxonomies.load(options.taxonomy).of_kind(*SKILL_KINDS)}
    sets = {path.stem: read_gold(path, known) for path in options.files}
    texts = [text for gold in sets.values() for text in gold]
    print("| system |", " | ".join(f"{name} MRR | RP@5" for name in sets), "| sentences/s |")
    print("| --- |" + " --- |" * (2 * len(sets) + 1))
    for name, rank, timed in systems(options.taxonomy):
        began = time.perf_counter()
        ranked = dict(zip(texts, rank(texts), strict=True))
        speed = f"{len(texts) / (time.perf_counter() - began):,.0f}" if timed else ""
        cells = []
        for gold in sets.values():
            pairs = [(ranked[text], ids) for text, ids in gold.items()]
            for values in (
                [reciprocal_rank(*pair) for pair in pairs],
                [r_precision_at(*pair, 5) for pair in pairs],
            ):
                counts = np.column_stack([values, np.ones(len(values))])
                cells.append(cell(bootstrap(counts, {"mean": mean})["mean"]))
        print(f"| {name} |", " | ".join(cells), f"| {speed} |", flush=True)
    for name, per_second in encoder_speeds(texts):
        print(f"{name}: {per_second:,.0f} sentences a second, encoder alone")


if __name__ == "__main__":
    main()
