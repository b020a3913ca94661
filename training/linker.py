"""Fit the linker: weights of the ranking, calibration, threshold.

    python -m training.linker --data ../shared/data --taxonomy esco-1.1.1

Fitted on sentences of ads whose concepts we judged, those that the encoder did not learn from
(`training/data/judged/`), and on sentences of SkillSpan (train) in which experts marked no skill:

- the six weights of the score that concepts are ranked by, by the softmax over the candidates of a
  sentence; a defensible candidate does not compete with one that is meant, and sentences of
  SkillSpan and of other ads have half of the say each;
- how probable it is that a ranked concept is right: a logistic regression of ten coefficients;
- how sure a label is that stands in a sentence;
- the threshold: the lowest with the best F1, give or take half a point.

A defensible candidate counts as wrong but where weights are fitted, as it would in other people's
labels. No concept has a number of its own, so labels cannot be learned by heart. Of the judged
sentences, F1 is out of fold by ad; their ranking is that of the six weights that they were fitted
to. None of this was fitted on the sets of `REPORTED`. Writes extractor/models/linker/ENCODER.json.
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from extractor.components import SkillLinker
from extractor.linker import FEATURES, RANKED_BY, Linker, LinkerModel, Query, Ranking
from extractor.pipeline import SkillExtractor, read_sentences
from training.judged import is_posting, read_judged
from training.rows import read_rows

MODELS = Path(__file__).parents[1] / "extractor" / "models" / "linker"
FIRST_WEIGHTS = (1.5, 1.0, 0.03, 0.4, -0.2, 0.07)
"""That candidates are ranked by before weights are fitted."""
SIZE = 2.5
"""Sum of the weights of both cosines: the scale that `extractor.linker.SHARPNESS` belongs to."""
REPORTED = {
    "house": "esco-linking/house_validation.jsonl",
    "tech": "esco-linking/tech_validation.jsonl",
    "skillskape": "skillskape/dev.jsonl",
}
"""Labelled sets that nothing is fitted on."""
COMPETING = 50
"""Best candidates of a sentence among which the right ones are to stand out."""
CANDIDATES = 20
FOLDS = 5
FLAT = 0.005
"""Difference in F1 that says nothing."""
THRESHOLDS = np.arange(0.04, 0.5, 0.01)


class Labelled(NamedTuple):
    """A sentence of an ad with the ids of its concepts."""

    ad: str
    text: str
    meant: frozenset[str]
    defensible: frozenset[str] = frozenset()


class Scored(NamedTuple):
    """A sentence as the linker ranks it, with positions of its concepts."""

    query: Query
    ranking: Ranking
    meant: set[int]
    defensible: set[int]


def read_sets(data: Path, empty: int, seed: int) -> dict[str, list[Labelled]]:
    """Sentences by set: those to fit on, of those without a skill a sample, and those to report."""
    judged = [
        Labelled(row.ad, row.text, frozenset(row.meant), frozenset(row.defensible))
        for row in read_judged(data)
        if row.held_out
    ]
    rows = read_rows(data / "skillspan/train.jsonl")
    without = [
        Labelled(row["posting"], row["text"], frozenset()) for row in rows if not row["spans"]
    ]
    random.Random(seed).shuffle(without)  # noqa: S311 - a sample, not a secret
    sets = {"judged": judged, "empty": without[:empty]}
    for name, path in REPORTED.items():
        meant: dict[str, set[str]] = {}
        for row in read_rows(data / path):
            links = {link["uri"] for link in row.get("links", []) if link["uri"]}
            meant.setdefault(row["text"], set()).update(links)
        sets[name] = [Labelled(text, text, frozenset(ids)) for text, ids in meant.items()]
    return sets


def fit_weights(sources: Sequence[list[Scored]]) -> tuple[float, ...]:
    """Weights of `RANKED_BY` by which concepts that are meant stand out from the others.

    Args:
        sources: Sentences; each source counts alike, however many it has.
    """
    groups: list[list[torch.Tensor]] = []
    for rows in sources:
        groups.append([])
        for _, ranking, meant, defensible in rows:
            best = ranking.concepts[:COMPETING].tolist()
            values = torch.from_numpy(ranking.features[:COMPETING, : len(RANKED_BY)].copy())
            others = [n for n, c in enumerate(best) if c not in meant and c not in defensible]
            groups[-1] += [values[[n, *others]] for n, c in enumerate(best) if c in meant]
    weights = torch.tensor(FIRST_WEIGHTS, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        losses = [
            torch.stack([-(values @ weights).log_softmax(0)[0] for values in of_source]).mean()
            for of_source in groups
        ]
        total = torch.stack(losses).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    fitted = weights.detach().numpy()
    return tuple(round(float(w), 4) for w in fitted * SIZE / fitted[:2].sum())


def fit(rows: list[Scored]) -> LogisticRegression:
    """Regression of being right on the values of the best candidates."""
    x = np.concatenate([row.ranking.features[:CANDIDATES] for row in rows])
    y = [int(c) in row.meant for row in rows for c in row.ranking.concepts[:CANDIDATES]]
    return LogisticRegression(C=10.0, max_iter=2000).fit(x, y)


def labels_right(linker: Linker, rows: list[Scored]) -> float:
    """Share of the labels in sentences that are meant so, by Laplace's rule.

    Labels are counted that are proper names or have two words or more.
    """
    right = [
        position in row.meant
        for row in rows
        for position, name in row.query.exact.items()
        if position not in row.defensible
        if name.fit == 1.0 or linker.index.is_proper[position]
    ]
    return (sum(right) + 1) / (len(right) + 2)


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
    for row in rows:
        found = {link.concept for link in linker.decide(row.query, row.ranking)}
        right += len(found & row.meant)
        returned += len(found)
        total += len(row.meant)
    return right, returned, total


def ranking_figures(rows: list[Scored], weights: Sequence[float]) -> tuple[float, float]:
    """RP@5 and MRR over sentences that mean a concept, ranked anew by other weights."""
    ranks, recalls = [], []
    for row in rows:
        if row.meant:
            scores = row.ranking.features[:, : len(RANKED_BY)] @ np.asarray(weights, np.float32)
            best = row.ranking.concepts[np.lexsort((row.ranking.concepts, -scores))].tolist()
            ranks.append(next((1 / (n + 1) for n, c in enumerate(best) if c in row.meant), 0.0))
            recalls.append(len(row.meant & set(best[:5])) / min(5, len(row.meant)))
    return float(np.mean(recalls)), float(np.mean(ranks))


def report(linker: Linker, name: str, rows: list[Scored]) -> None:
    """Print F1 at the linker's threshold."""
    right, returned, total = counts(linker, rows, linker.model.threshold)
    f1 = 2 * right / max(1, returned + total)
    print(f"{name}: F1 {f1:.3f}, {returned / len(rows):.2f} concepts a sentence")


def main() -> None:
    """Fit, choose the threshold, report, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    parser.add_argument("--taxonomy", default="esco-1.1.1", help="installed taxonomy of the labels")
    parser.add_argument("--encoder", default="accurate")
    parser.add_argument("--empty", type=int, default=250, help="sentences without a skill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="8")
    options = parser.parse_args()

    nlp = SkillExtractor.load(options.taxonomy, encoder=options.encoder).nlp
    component: SkillLinker = nlp.get_pipe("jobshift_linker")  # type: ignore[assignment]
    linker, known = component.linker, component.positions
    unfitted = LinkerModel("fit", FIRST_WEIGHTS, (0.0,) * len(FEATURES), 0.0, 0.0, 0.5)

    sets = read_sets(options.data, options.empty, options.seed)
    queries = {
        name: component.queries_of(read_sentences(nlp, [row.text for row in rows]))
        for name, rows in sets.items()
    }

    def ranked(name: str) -> list[Scored]:
        return [
            Scored(
                query,
                ranking,
                {known[i] for i in row.meant if i in known},
                {known[i] for i in row.defensible if i in known},
            )
            for row, query, ranking in zip(
                sets[name], queries[name], linker.rank(queries[name]), strict=True
            )
        ]

    linker.model = unfitted
    unweighted = {name: ranked(name) for name in ("judged", *REPORTED)}
    inside = [is_posting(row.ad) for row in sets["judged"]]
    skillspan = [row for row, of_it in zip(unweighted["judged"], inside, strict=True) if of_it]
    others = [row for row, of_it in zip(unweighted["judged"], inside, strict=True) if not of_it]
    weights = fit_weights([skillspan, others])
    variants = {
        "by hand": FIRST_WEIGHTS,
        "fitted, every sentence alike": fit_weights([unweighted["judged"]]),
        "fitted, SkillSpan alone": fit_weights([skillspan]),
        "fitted, both alike (kept)": weights,
    }
    for variant, tried in variants.items():
        figures = {name: ranking_figures(rows, tried) for name, rows in unweighted.items()}
        shown = ", ".join(f"{name} {rp:.3f} {mrr:.3f}" for name, (rp, mrr) in figures.items())
        print(f"weights {variant}: RP@5 and MRR of {shown}", flush=True)
    linker.model = replace(unfitted, weights=weights)
    judged, empty = ranked("judged"), ranked("empty")
    rows = judged + empty
    linker.model = replace(linker.model, named=labels_right(linker, rows))
    ads = [row.ad for row in (*sets["judged"], *sets["empty"])]
    folds = [zlib.crc32(ad.encode()) % FOLDS for ad in ads]
    models = [fit([r for r, f in zip(rows, folds, strict=True) if f != n]) for n in range(FOLDS)]
    held_out = [
        row._replace(ranking=calibrated(linker, row.ranking, models[fold]))
        for row, fold in zip(rows, folds, strict=True)
    ]
    p = np.concatenate([row.ranking.probabilities[:CANDIDATES] for row in held_out])
    y = np.array([int(c) in r.meant for r in held_out for c in r.ranking.concepts[:CANDIDATES]])
    bins = np.minimum((p * 10).astype(int), 9)
    error = sum(abs((p - y)[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    print("predicted  right  candidates")
    for b in np.unique(bins):
        print(f"{p[bins == b].mean():9.3f}  {y[bins == b].mean():5.3f}  {sum(bins == b):10,}")
    f1_at = {}
    for at in THRESHOLDS:
        right, returned, total = counts(linker, held_out, float(at))
        f1_at[round(float(at), 2)] = 2 * right / max(1, returned + total)
    # The curve is flat at its top; what is missing costs a user more than what is too much.
    threshold = min(at for at, f1 in f1_at.items() if f1 >= max(f1_at.values()) - FLAT)
    print(f"{len(rows)} sentences; out of fold: calibration error {error:.4f}")
    linker.model = replace(linker.model, threshold=threshold)
    report(linker, "judged", held_out[: len(judged)])
    passed_over = [row for row in held_out[: len(judged)] if not row.query.may_ask]
    right, returned, total = counts(linker, passed_over, threshold)
    print(
        f"judged sentences that are not linked, since no words may name a skill: "
        f"{len(passed_over)} with {total} concepts; {returned} would be returned, {right} right"
    )
    report(linker, "empty", held_out[len(judged) :])

    regression = fit(rows)
    for name in REPORTED:
        report(
            linker,
            name,
            [
                row._replace(ranking=calibrated(linker, row.ranking, regression))
                for row in ranked(name)
            ],
        )
    fields = {
        "version": options.version,
        "features": list(FEATURES),
        "weights": list(weights),
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
