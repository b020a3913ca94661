"""Fit the linker's calibration: how probable is it that a ranked concept is right?

    python -m training.linker --data ../shared/data --taxonomy esco-1.1.1

The ranking weights are few and set by hand (see docs/linking.md); fitted are a logistic regression
and the threshold: the lowest with the best F1, give or take half a point. Fitted on the validation
sentences of HOUSE and TECH, which have concept labels, and on sentences of SkillSpan (train) in
which experts marked no skill. Ten coefficients for all concepts: no concept has a number of its
own, so labels cannot be learned by heart. One number more says how sure a label is that stands in
a sentence. The figures printed are out of fold. Writes
extractor/models/linker/ENCODER.json.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from extractor.components import SkillLinker
from extractor.linker import FEATURES, Linker, LinkerModel, Query, Ranking
from extractor.pipeline import SkillExtractor, parse_sentences

MODELS = Path(__file__).parents[1] / "extractor" / "models" / "linker"
WEIGHTS = (1.5, 1.0, 0.03, 0.4, -0.2, 0.07)
LABELLED = ("house", "tech")
CANDIDATES = 20
FOLDS = 5
FLAT = 0.005
"""Difference in F1 that says nothing."""
THRESHOLDS = np.arange(0.04, 0.5, 0.01)

Scored = tuple[Query, Ranking, set[int]]


def read_rows(data: Path, empty: int, seed: int) -> dict[str, dict[str, set[str]]]:
    """Sentences with the ids of their concepts, by set; of those without a skill a sample."""
    sets: dict[str, dict[str, set[str]]] = {}
    for name in LABELLED:
        texts: dict[str, set[str]] = {}
        for line in (
            (data / f"esco-linking/{name}_validation.jsonl").read_text("utf-8").splitlines()
        ):
            row = json.loads(line)
            links = {link["uri"] for link in row.get("links", []) if link["uri"]}
            texts.setdefault(row["text"], set()).update(links)
        sets[name] = texts
    rows = [json.loads(r) for r in (data / "skillspan/train.jsonl").read_text("utf-8").splitlines()]
    without = [row["text"] for row in rows if not row["spans"]]
    random.Random(seed).shuffle(without)  # noqa: S311 - a sample, not a secret
    sets["empty"] = {text: set() for text in without[:empty]}
    return sets


def fit(rows: list[Scored]) -> LogisticRegression:
    """Regression of being right on the values of the best candidates."""
    x = np.concatenate([ranking.features[:CANDIDATES] for _, ranking, _ in rows])
    y = [int(c) in wanted for _, found, wanted in rows for c in found.concepts[:CANDIDATES]]
    return LogisticRegression(C=10.0, max_iter=2000).fit(x, y)


def labels_right(linker: Linker, rows: list[Scored]) -> float:
    """Share of the labels in labelled sentences that are meant so.

    Labels are counted that are proper names or have two words or more.
    """
    right = [
        position in wanted
        for query, _, wanted in rows
        if wanted
        for position, name in query.exact.items()
        if name.fit == 1.0 or linker.index.is_proper[position]
    ]
    return sum(right) / len(right)


def calibrated(linker: Linker, ranking: Ranking, regression: LogisticRegression) -> Ranking:
    """The ranking with the probabilities of a regression."""
    linker.model = replace(
        linker.model,
        coefficients=tuple(float(c) for c in regression.coef_[0]),
        intercept=float(regression.intercept_[0]),
    )
    return ranking._replace(probabilities=linker.probabilities(ranking.concepts, ranking.features))


def counts(linker: Linker, rows: list[Scored], threshold: float) -> tuple[int, int, int]:
    """Right concepts, returned concepts and gold concepts at a threshold."""
    linker.model = replace(linker.model, threshold=threshold)
    right = returned = total = 0
    for query, ranking, wanted in rows:
        found = {link.concept for link in linker.decide(query, ranking)}
        right += len(found & wanted)
        returned += len(found)
        total += len(wanted)
    return right, returned, total


def main() -> None:
    """Fit, choose the threshold, report, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--taxonomy", default="esco-1.1.1", help="installed taxonomy of the labels")
    parser.add_argument("--encoder", default="accurate")
    parser.add_argument("--empty", type=int, default=250, help="sentences without a skill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="4")
    options = parser.parse_args()

    nlp = SkillExtractor.load(options.taxonomy, encoder=options.encoder).nlp
    component: SkillLinker = nlp.get_pipe("jobshift_linker")  # type: ignore[assignment]
    linker = component.linker
    linker.model = LinkerModel("fit", WEIGHTS, (0.0,) * len(FEATURES), 0.0, 0.0, 0.5)
    rows: list[Scored] = []
    origin: list[str] = []
    for name, texts in read_rows(options.data, options.empty, options.seed).items():
        queries = component.queries_of(parse_sentences(nlp, texts))
        gold = [
            {component.positions[i] for i in ids & set(component.positions)}
            for ids in texts.values()
        ]
        rows += zip(queries, linker.rank(queries), gold, strict=True)
        origin += [name] * len(texts)

    linker.model = replace(linker.model, named=labels_right(linker, rows))
    folds = [number % FOLDS for number in range(len(rows))]
    held_out: list[Scored] = []
    models = [fit([r for r, f in zip(rows, folds, strict=True) if f != n]) for n in range(FOLDS)]
    for (query, ranking, wanted), fold in zip(rows, folds, strict=True):
        held_out.append((query, calibrated(linker, ranking, models[fold]), wanted))
    p = np.concatenate([ranking.probabilities[:CANDIDATES] for _, ranking, _ in held_out])
    y = np.array([int(c) in w for _, r, w in held_out for c in r.concepts[:CANDIDATES]])
    bins = np.minimum((p * 10).astype(int), 9)
    error = sum(abs((p - y)[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    print("predicted  right  candidates")
    for b in np.unique(bins):
        print(f"{p[bins == b].mean():9.3f}  {y[bins == b].mean():5.3f}  {sum(bins == b):10,}")
    f1_at = {}
    for threshold in THRESHOLDS:
        hits, returned, total = counts(linker, held_out, float(threshold))
        f1_at[round(float(threshold), 2)] = 2 * hits / max(1, returned + total)
    # The curve is flat at its top; what is missing costs a user more than what is too much.
    threshold = min(at for at, f1 in f1_at.items() if f1 >= max(f1_at.values()) - FLAT)
    print(f"{len(rows)} sentences; out of fold: calibration error {error:.4f}")
    for name in dict.fromkeys(origin):
        part = [row for row, of in zip(held_out, origin, strict=True) if of == name]
        hits, returned, total = counts(linker, part, threshold)
        f1 = 2 * hits / max(1, returned + total)
        print(f"{name}: F1 {f1:.3f}, {returned / len(part):.2f} concepts a sentence")

    regression = fit(rows)
    fields = {
        "version": options.version,
        "features": list(FEATURES),
        "weights": list(WEIGHTS),
        "coefficients": [round(float(c), 4) for c in regression.coef_[0]],
        "intercept": round(float(regression.intercept_[0]), 4),
        "named": round(linker.model.named, 3),
        "threshold": threshold,
    }
    target = MODELS / f"{options.encoder}.json"
    target.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(fields))


if __name__ == "__main__":
    main()
