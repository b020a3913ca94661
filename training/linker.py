"""Fit the linker's calibration: how probable is it that a ranked concept is right?

    python -m training.linker --data ../shared/data --taxonomy esco-1.1.1

The ranking weights are few and set by hand (see docs/linking.md); fitted are a logistic
regression over the same values and the threshold with the best F1. Fitted on sentences of
SkillSkape (train), which have concept labels, and sentences of SkillSpan (train) in which experts
marked no skill. Five coefficients for all concepts: no concept has a number of its own, so labels
cannot be learned by heart. Writes extractor/models/linker.json.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from extractor.components import SkillLinker
from extractor.linker import FEATURES, LinkerModel, Query, Ranking
from extractor.pipeline import SkillExtractor, parse_sentences

TARGET = Path(__file__).parents[1] / "extractor" / "models" / "linker.json"
WEIGHTS = (1.5, 1.0, 0.02, 0.3, -0.2)
CANDIDATES = 20
THRESHOLDS = np.arange(0.05, 0.95, 0.01)


def read_rows(path: Path, limit: int, seed: int) -> list[dict[str, Any]]:
    """Read a random sample of a JSON-lines file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    random.Random(seed).shuffle(rows)  # noqa: S311 - a sample, not a secret
    return rows[:limit]


def returned_counts(
    linker: SkillLinker,
    model: LinkerModel,
    ranked: list[tuple[Query, Ranking]],
    gold: list[set[int]],
) -> tuple[int, int, int]:
    """Count what a model returns: right concepts, all concepts, gold concepts."""
    linker.linker.model = model
    found = [
        {link.concept for link in linker.linker.decide(query, ranking)} for query, ranking in ranked
    ]
    right = sum(len(concepts & wanted) for concepts, wanted in zip(found, gold, strict=True))
    return right, sum(map(len, found)), sum(map(len, gold))


def main() -> None:
    """Fit, choose the threshold, report, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--taxonomy", default="esco-1.1.1", help="installed taxonomy of the labels")
    parser.add_argument("--rows", type=int, default=1000, help="sentences of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="1")
    options = parser.parse_args()

    nlp = SkillExtractor.load(options.taxonomy).nlp
    linker: SkillLinker = nlp.get_pipe("jobshift_linker")  # type: ignore[assignment]
    rows = read_rows(options.data / "skillskape/train.jsonl", options.rows, options.seed)
    spans = read_rows(options.data / "skillspan/train.jsonl", 10 * options.rows, options.seed)
    rows += [row for row in spans if not row["spans"]][: options.rows]
    gold = [
        {
            linker.positions[link["uri"]]
            for link in row.get("links", [])
            if link["uri"] in linker.positions
        }
        for row in rows
    ]
    linker.linker.model = LinkerModel("fit", WEIGHTS, (0.0,) * len(FEATURES), 0.0, 0.5)
    queries = linker.queries_of(parse_sentences(nlp, (row["text"] for row in rows)))
    rankings = linker.linker.rank(queries)

    features: list[NDArray[np.float32]] = []
    right: list[bool] = []
    groups: list[int] = []
    for group, (ranking, wanted) in enumerate(zip(rankings, gold, strict=True)):
        features.extend(ranking.features[:CANDIDATES])
        right.extend(int(concept) in wanted for concept in ranking.concepts[:CANDIDATES])
        groups.extend([group] * len(ranking.concepts[:CANDIDATES]))
    x, y = np.stack(features), np.asarray(right)
    regression = LogisticRegression(C=10.0, max_iter=1000)
    held_out = cross_val_predict(
        regression, x, y, groups=groups, cv=GroupKFold(5), method="predict_proba"
    )[:, 1]
    bins = np.minimum((held_out * 10).astype(int), 9)
    gaps = [abs((held_out - y)[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    error = float(sum(gaps))
    regression.fit(x, y)
    coefficients = tuple(round(float(c), 4) for c in regression.coef_[0])
    intercept = round(float(regression.intercept_[0]), 4)

    def model(threshold: float) -> LinkerModel:
        return LinkerModel(options.version, WEIGHTS, coefficients, intercept, threshold)

    linker.linker.model = model(0.5)
    ranked = list(zip(queries, linker.linker.rank(queries), strict=True))
    best = (0.0, 0.5)
    for threshold in THRESHOLDS:
        hits, returned, total = returned_counts(linker, model(float(threshold)), ranked, gold)
        best = max(best, (2 * hits / max(1, returned + total), round(float(threshold), 2)))
    f1, threshold = best
    print(f"{len(rows)} sentences, {len(y)} candidates, {int(y.sum())} of them right")
    print(f"calibration error over 5 folds {error:.4f}; F1 on the fitted rows {f1:.3f}")
    fields = {
        "version": options.version,
        "features": list(FEATURES),
        "weights": list(WEIGHTS),
        "coefficients": list(coefficients),
        "intercept": intercept,
        "threshold": threshold,
    }
    TARGET.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(fields))


if __name__ == "__main__":
    main()
