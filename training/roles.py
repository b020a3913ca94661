"""Trains the role classifier: `python -m training.roles --data ../shared/data`.

Three small heads on sentence embeddings (kind of duty, duty or not, class of a title) and the
few weights that combine them into a decision. Labels of occupations and of short duties are ours
(`extractor/data/occupation_classes.csv`, `training/duty_phrases.toml`), those of tasks are
published ones. The run is seeded: it writes the same weights again, up to the rounding of the
machine, and the model card.
"""

from __future__ import annotations

import argparse
import csv
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, f1_score
from sklearn.model_selection import GroupKFold, RepeatedStratifiedKFold

from extractor.ai_skills import AIVocabulary
from extractor.encoders import CachedEncoder, load_encoder
from extractor.interfaces import Encoder, Vectors
from extractor.records import ROLE_CLASSES
from extractor.role_model import FEATURES, TASK_KINDS, TITLE_CLASSES, Head, RoleModel
from extractor.roles import (
    RoleClassifier,
    RoleFeatures,
    RoleInput,
    clean_title,
    occupation_classes,
)
from extractor.zones import find_zones, split_sentences

SEED = 20240501
VERSION = "1.0.0"
HERE = Path(__file__).parent
MODEL = HERE.parent / "extractor" / "models" / "roles"

PHRASE_WEIGHT = 8.0
"""Weight of one of our phrases against a task of a clear occupation."""

BATCH = 256
DROPOUT = 0.3
BALANCE = 0.7
"""How far classes are balanced: 0 leaves their frequencies, 1 makes them equal."""

Floats = NDArray[np.float64]
Row = dict[str, Any]

# What a published automation level (T0 to T4) and exposure (E0: none) of a task mean for its
# kind, given the class of the occupation that does it. Columns are TASK_KINDS.
_OFFICE_ROUTINE = {
    "T4": (0.95, 0.0, 0.05, 0.0), "T3": (0.85, 0.0, 0.15, 0.0), "T2": (0.75, 0.0, 0.25, 0.0),
    "T1": (0.55, 0.05, 0.35, 0.05), "T0": (0.2, 0.4, 0.1, 0.3),
}  # fmt: skip
_MANUAL_ROUTINE = {
    "T4": (0.6, 0.35, 0.05, 0.0), "T3": (0.5, 0.35, 0.15, 0.0), "T2": (0.35, 0.4, 0.25, 0.0),
    "T1": (0.05, 0.65, 0.15, 0.15), "T0": (0.0, 0.85, 0.0, 0.15),
}  # fmt: skip
_EXPERT = {
    "T4": (0.75, 0.0, 0.25, 0.0), "T3": (0.15, 0.0, 0.85, 0.0), "T2": (0.0, 0.0, 1.0, 0.0),
    "T1": (0.0, 0.0, 0.95, 0.05), "T0": (0.0, 0.0, 0.45, 0.55),
}  # fmt: skip
_SKILLED = {
    "T4": (0.7, 0.0, 0.2, 0.1), "T3": (0.45, 0.0, 0.5, 0.05), "T2": (0.15, 0.0, 0.75, 0.1),
    "T1": (0.0, 0.0, 0.3, 0.7), "T0": (0.0, 0.0, 0.0, 1.0),
}  # fmt: skip
_MANUAL = {
    "T4": (0.7, 0.1, 0.1, 0.1), "T3": (0.5, 0.1, 0.3, 0.1), "T2": (0.2, 0.1, 0.6, 0.1),
    "T1": (0.0, 0.15, 0.2, 0.65), "T0": (0.0, 0.3, 0.0, 0.7),
}  # fmt: skip


class Examples(NamedTuple):
    """Texts with soft labels.

    Attributes:
        texts: The texts.
        targets: Probability of each class, shape (texts, classes).
        weights: Weight of each text, shape (texts,).
        groups: What must not be split between folds: occupation or source.
    """

    texts: list[str]
    targets: Floats
    weights: Floats
    groups: list[str]


def read(path: Path) -> Iterator[Row]:
    """Rows of a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _examples(rows: Sequence[tuple[str, Sequence[float], float, str]]) -> Examples:
    texts, targets, weights, groups = zip(*rows, strict=True)
    return Examples(list(texts), np.array(targets), np.array(weights), list(groups))


def _channels() -> dict[str, str]:
    path = HERE.parent / "extractor" / "data" / "occupation_classes.csv"
    with path.open(encoding="utf-8") as source:
        return {row["code"]: row["channel"] for row in csv.DictReader(source)}


def task_examples(data: Path) -> Examples:
    """Tasks with the kind of work they are: O*NET, ILO and our own phrases."""
    classes, channels = occupation_classes(), _channels()
    rows: list[tuple[str, Sequence[float], float, str]] = []
    for row in read(data / "ai-exposure" / "gptsaregpts_tasks.jsonl"):
        code = row["onet_soc"]
        if code not in classes or not isinstance(row["task"], str):
            continue
        label, clear = classes[code]
        table = {
            "created": _EXPERT,
            "augmented": _EXPERT,
            "skilled": _SKILLED,
            "manual": _MANUAL,
            "threatened": _OFFICE_ROUTINE if channels[code] == "cognitive" else _MANUAL_ROUTINE,
        }[label]
        rows.append((row["task"], table[row["gpt4_automation"]], 1.0 if clear else 0.4, code))
    for row in read(data / "ai-exposure" / "ilo_tasks.jsonl"):
        target = _ilo_kind(row["isco"], row["score_2025"])
        if target is not None and isinstance(row["task"], str):
            rows.append((row["task"].rstrip(";."), target, 0.7, f"isco-{row['isco']}"))
    phrases = tomllib.loads((HERE / "duty_phrases.toml").read_text("utf-8"))
    for k, kind in enumerate(TASK_KINDS):
        one_hot = np.eye(len(TASK_KINDS))[k]
        rows += [(text, one_hot, PHRASE_WEIGHT, f"phrase-{text}") for text in phrases[kind]]
    return _examples(rows)


def _ilo_kind(isco: str, score: float) -> tuple[float, ...] | None:
    """Kind of an ILO task: by its score and the major group of its occupation."""
    group = isco[0]
    if group == "4":
        return (0.85, 0.05, 0.1, 0.0) if score >= 0.4 else None
    if isco[:2] in ("81", "82", "83", "93") or isco in ("9612", "9321", "9329", "9333", "9334"):
        return (0.05, 0.8, 0.0, 0.15) if score < 0.4 else None
    if group in "12":
        return (0.05, 0.0, 0.95, 0.0) if score < 0.65 else (0.5, 0.0, 0.5, 0.0)
    if group in "5679":
        return (0.0, 0.0, 0.1, 0.9) if score < 0.3 else None
    return None


def title_examples(data: Path, *, common: bool = True) -> Examples:
    """Titles with the class of their occupation; titles of ML work are told by our list.

    Args:
        data: Folder of the development data.
        common: Whether to add our list of common titles.
    """
    vocabulary = AIVocabulary.load()
    classes = occupation_classes()
    votes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    source: dict[str, str] = {}
    for row in read(data / "onet-29.3" / "occupations.jsonl"):
        label, clear = classes[row["id"]]
        reported = set(row.get("reportedTitles", ()))
        for title in [row["label"], *row.get("alternateTitles", ())]:
            weight = 1.0 if clear else 0.4
            weight *= 3.0 if title == row["label"] else 2.0 if title in reported else 1.0
            votes[clean_title(title)][label] += weight
            source.setdefault(clean_title(title), row["id"])
    rows: list[tuple[str, Sequence[float], float, str]] = []
    identity = np.eye(len(TITLE_CLASSES))
    for title, found in sorted(votes.items()):
        groups = {m.group for m in vocabulary.find(title, "ml_title", "data_science_title")}
        if groups and not any(True for _ in vocabulary.find(title, "not_ml_title")):
            rows.append((title, identity[0], 1.0, source[title]))
            continue
        found["augmented"] += found.pop("created", 0.0)
        total = sum(found.values())
        target = sum(identity[TITLE_CLASSES.index(c)] * n / total for c, n in found.items())
        rows.append((title, target, min(total, 3.0), source[title]))
    subjects = ("", "Senior ", "Junior ", "Lead ", "Principal ", "Staff ", "Intern ")
    phrases = tomllib.loads((HERE / "duty_phrases.toml").read_text("utf-8"))
    for title in phrases["ml_titles"]:
        rows += [(prefix + title, identity[0], 1.0, title) for prefix in subjects]
    for label, titles in phrases["titles"].items() if common else ():
        one_hot = identity[TITLE_CLASSES.index(label)]
        rows += [(prefix + title, one_hot, 3.0, title) for title in titles for prefix in subjects]
    return _examples(rows)


def duty_examples(data: Path) -> Examples:
    """Sentences under headings of duties against sentences of the other sections."""
    rows: list[tuple[str, Sequence[float], float, str]] = []
    generator = np.random.default_rng(SEED)
    ads = list(read(data / "ads" / "ads.jsonl"))
    for i in generator.permutation(len(ads))[:700]:
        ad = ads[i]
        zones = find_zones(ad["text"], ad["title"])
        for sentence in split_sentences(ad["text"], zones):
            if sentence.zone == "other" or not 15 < len(sentence.text) < 300:
                continue
            yes = sentence.zone == "duties"
            rows.append((sentence.text, (0.0, 1.0) if yes else (1.0, 0.0), 1.0, ad["id"]))
    phrases = tomllib.loads((HERE / "duty_phrases.toml").read_text("utf-8"))
    for kind in TASK_KINDS:
        rows += [(text, (0.0, 1.0), 4.0, "phrase") for text in phrases[kind]]
    rows += [(text, (1.0, 0.0), 15.0, "phrase") for text in phrases["no_duty"]]
    return _examples(rows)


def fit_head(vectors: Vectors, examples: Examples, *, units: int = 128, epochs: int = 20) -> Head:
    """Fit a head on soft labels, all classes weighing alike.

    Args:
        vectors: Shape (texts, dimension).
        examples: Labels and weights.
        units: Units of the hidden layer.
        epochs: Passes over the texts.
    """
    torch.manual_seed(SEED)
    x = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
    mass = (examples.weights[:, None] * examples.targets).sum(axis=0)
    balanced = examples.targets * (mass.mean() / np.maximum(mass, 1e-9)) ** BALANCE
    y = torch.from_numpy((examples.weights[:, None] * balanced).astype(np.float32))
    y = y / y.sum(dim=1).mean()
    network = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], units),
        torch.nn.ReLU(),
        torch.nn.Dropout(DROPOUT),
        torch.nn.Linear(units, y.shape[1]),
    )
    steps = epochs * (len(x) // BATCH + 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(x)), BATCH):
            optimizer.zero_grad()
            loss = -(y[rows] * torch.log_softmax(network(x[rows]), dim=1)).sum(dim=1).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    parameters = [p.detach().numpy().astype(np.float64) for p in network.parameters()]
    return Head(*parameters)


# Weights that the definition suggests; those learned are drawn towards them, and none may turn
# its sign: more routine work never makes a role look less threatened.
PRIOR: dict[str, dict[str, float]] = {
    "created": {
        "ml_title": 4.0, "data_title": 2.0, "ml_duties": 1.5, "ml_skills": 1.5,
        "ml_density": 1.5, "bias": -6.0,
    },
    "threatened": {"title_threatened": 0.8, "routine_duties": 1.5, "bias": 0.0},
    "augmented": {
        "title_augmented": 0.8, "knowledge_duties": 1.0, "uses_ml_tools": 1.5, "bias": 0.0,
    },
    "nearest": {"title_nearest": 1.0, "routine_duties": 1.0, "bias": 0.0},
}  # fmt: skip


def fit_step(step: str, features: Sequence[RoleFeatures], yes: Sequence[bool]) -> dict[str, float]:
    """Logistic regression with non-negative weights and a Gaussian prior around `PRIOR`."""
    names = (*FEATURES[step], "bias")
    centre = np.array([PRIOR[step][name] for name in names])
    x = np.array([[*(f.values[name] for name in FEATURES[step]), 1.0] for f in features])
    sign = np.where(np.array(yes), 1.0, -1.0)
    # Loose for the bias, half its size for a weight.
    precision = np.array([*(4.0 / centre[:-1] ** 2), 0.25])

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (x @ weights)
        value = np.logaddexp(0.0, -margin).sum() + 0.5 * (precision * (weights - centre) ** 2).sum()
        slope = -sign / (1.0 + np.exp(np.clip(margin, -30, 30)))
        return float(value), slope @ x + precision * (weights - centre)

    bounds = [(0.0, None)] * (len(names) - 1) + [(None, None)]
    result = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds)
    return {name: round(float(value), 4) for name, value in zip(names, result.x, strict=True)}


def fit_steps(features: Sequence[RoleFeatures], rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Weights of all steps; each learns from the rows that reach it."""

    def fit(step: str, reached: Sequence[bool], yes: Sequence[bool]) -> dict[str, float]:
        kept = [i for i, ok in enumerate(reached) if ok]
        return fit_step(step, [features[i] for i in kept], [yes[i] for i in kept])

    labels = [row["label"] for row in rows]
    return {
        "created": fit("created", [True] * len(rows), [c == "created" for c in labels]),
        "threatened": fit(
            "threatened", [c != "created" for c in labels], [c == "threatened" for c in labels]
        ),
        "augmented": fit(
            "augmented",
            [c in ("augmented", "unaffected") for c in labels],
            [c == "augmented" for c in labels],
        ),
        "nearest": fit(
            "nearest",
            [c == "unaffected" for c in labels],
            [row["nearest"] == "threatened" for row in rows],
        ),
    }


def role_input(row: Row) -> RoleInput:
    """An ad of a labelled file as the classifier reads it: no skills, no occupations."""
    zones = find_zones(row["text"], row["title"])
    return RoleInput(row["title"], row["text"], split_sentences(row["text"], zones))


def out_of_fold(vectors: Vectors, examples: Examples, *, folds: int = 5) -> Floats:
    """Predictions of a head for each text by heads that have not seen its group."""
    predicted = np.zeros_like(examples.targets)
    for train, test in GroupKFold(folds).split(vectors, groups=examples.groups):
        part = Examples([], examples.targets[train], examples.weights[train], [])
        head = fit_head(vectors[train], part)
        predicted[test] = head.probabilities(vectors[test])
    return predicted


def _rank(a: Sequence[float], b: Sequence[float]) -> float:
    return float(spearmanr(a, b).statistic)


def task_metrics(data: Path, examples: Examples, predicted: Floats) -> dict[str, float]:
    """Rank correlation of out-of-fold task scores with the published ones."""
    by_text = dict(zip(zip(examples.texts, examples.groups, strict=True), predicted, strict=True))
    rows = [
        (row, by_text[row["task"], row["onet_soc"]])
        for row in read(data / "ai-exposure" / "gptsaregpts_tasks.jsonl")
        if (row["task"], row["onet_soc"]) in by_text
    ]
    levels = [float(row["gpt4_automation"][1]) for row, _ in rows]
    exposed = [float(row["gpt4_exposure"] != "E0") for row, _ in rows]
    means: dict[str, list[Floats]] = defaultdict(list)
    for row, kinds in rows:
        means[row["onet_soc"][:7]].append(kinds)
    occupation = {code: np.mean(kinds, axis=0) for code, kinds in means.items()}
    published = {row["soc2018"]: row for row in read(data / "ai-exposure" / "soc2018.jsonl")}

    def against(column: str, kinds: slice) -> float:
        pairs = [
            (float(mean[kinds].sum()), published[code][column])
            for code, mean in occupation.items()
            if code in published and published[code][column] is not None
        ]
        return _rank([a for a, _ in pairs], [b for _, b in pairs])

    truth = examples.targets.argmax(axis=1)
    return {
        "kind, accuracy": float(
            np.average(predicted.argmax(axis=1) == truth, weights=examples.weights)
        ),
        "cognitive routine against automation T0–T4, rho over tasks": _rank(
            [float(kinds[0]) for _, kinds in rows], levels
        ),
        "cognitive + analysis against exposure E1/E2, rho over tasks": _rank(
            [float(kinds[0] + kinds[2]) for _, kinds in rows], exposed
        ),
        "routine (both) against Frey–Osborne, rho over occupations": against(
            "frey_osborne", slice(0, 2)
        ),
        "cognitive + analysis against AIOE, rho over occupations": _office_against_aioe(
            occupation, published
        ),
    }


def _office_against_aioe(occupation: dict[str, Floats], published: dict[str, Row]) -> float:
    pairs = [
        (float(mean[0] + mean[2]), published[code]["aioe"])
        for code, mean in occupation.items()
        if code in published and published[code]["aioe"] is not None
    ]
    return _rank([a for a, _ in pairs], [b for _, b in pairs])


def calibration_error(probabilities: Floats, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error of the most probable class, equal-width bins."""
    confidence = probabilities.max(axis=1)
    slot = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(right[slot == k].mean() - confidence[slot == k].mean()) * (slot == k).mean()
            for k in range(bins)
            if (slot == k).any()
        )
    )


def cross_validate(
    classifier: RoleClassifier, features: Sequence[RoleFeatures], rows: Sequence[Row]
) -> dict[str, float]:
    """Repeated stratified cross-validation of the weights of the decision, 5 folds ten times."""
    truth = np.array([row["label"] for row in rows])
    nearest = np.array([row["nearest"] for row in rows])
    names = np.array(ROLE_CLASSES)
    splits = RepeatedStratifiedKFold(n_splits=5, n_repeats=10, random_state=SEED)
    gold: list[int] = []
    probabilities: list[list[float]] = []
    near: list[bool] = []
    for train, test in splits.split(np.zeros(len(rows)), truth):
        steps = fit_steps([features[i] for i in train], [rows[i] for i in train])
        fitted = RoleClassifier(
            classifier.encoder, replace(classifier.model, steps=steps), classifier.vocabulary
        )
        for i in test:
            found = fitted.probabilities(features[i])
            gold.append(int(i))
            probabilities.append([found[name] for name in ROLE_CLASSES])
            near.append(fitted.nearest(features[i]) == nearest[i])
    table = np.array(probabilities)
    predicted, expected = names[table.argmax(axis=1)], truth[gold]
    scores = f1_score(expected, predicted, average=None, labels=names, zero_division=0.0)
    return {
        "accuracy": float((predicted == expected).mean()),
        "macro F1": float(scores.mean()),
        **{f"F1 {name}": float(score) for name, score in zip(names, scores, strict=True)},
        "kappa": float(cohen_kappa_score(expected, predicted)),
        "calibration error": calibration_error(table, predicted == expected),
        "nearest, accuracy": float(np.mean(near)),
    }


VARIANTS = "five"
"""How many forms of the model were compared on the development ads before this one was kept."""


def _card(
    model: RoleModel,
    metrics: dict[str, dict[str, float]],
    examples: dict[str, Examples],
    rows: int,
) -> str:
    """The model card."""
    figures = "\n".join(
        f"| `{part}` | {name} | {value:.3f} |"
        for part, values in metrics.items()
        for name, value in values.items()
    )
    template = (HERE / "roles_card.md").read_text("utf-8")
    return template.format(
        version=model.version,
        seed=SEED,
        encoder=model.encoder,
        task_kinds=", ".join(f"`{kind}`" for kind in TASK_KINDS),
        title_classes=", ".join(f"`{label}`" for label in TITLE_CLASSES),
        task_texts=len(examples["task"].texts),
        duty_texts=len(examples["duty"].texts),
        title_texts=len(examples["title"].texts),
        steps=", ".join(f"`{step}`" for step in FEATURES),
        rows=rows,
        folds="5-fold stratified cross-validation, repeated ten times",
        figures=figures,
        variants=VARIANTS,
        ablation=f"{metrics['decision without common titles']['macro F1']:.3f}",
    )


def train(data: Path, encoder: Encoder, out: Path) -> None:
    """Train all parts, evaluate them, and write the model with its card."""
    examples = {
        "task": task_examples(data),
        "duty": duty_examples(data),
        "title": title_examples(data),
    }
    heads, metrics = {}, {}
    for name, part in examples.items():
        print(f"{name}: {len(part.texts):,} texts")
        vectors = encoder.encode(part.texts)
        heads[name] = fit_head(vectors, part)
        predicted = out_of_fold(vectors, part)
        if name == "task":
            metrics[name] = task_metrics(data, part, predicted)
        else:
            hits = predicted.argmax(axis=1) == part.targets.argmax(axis=1)
            metrics[name] = {"accuracy": float(np.average(hits, weights=part.weights))}
    model = RoleModel(encoder=encoder.name, steps=PRIOR, version=VERSION, **heads)
    classifier = RoleClassifier(encoder, model, AIVocabulary.load())
    rows = list(read(data / "roles" / "dev.jsonl"))
    features = classifier.features([role_input(row) for row in rows])
    metrics["decision"] = cross_validate(classifier, features, rows)
    bare = title_examples(data, common=False)
    bare_model = replace(model, title=fit_head(encoder.encode(bare.texts), bare))
    bare_classifier = RoleClassifier(encoder, bare_model, classifier.vocabulary)
    bare_features = bare_classifier.features([role_input(row) for row in rows])
    scores = cross_validate(bare_classifier, bare_features, rows)
    metrics["decision without common titles"] = {"macro F1": scores["macro F1"]}
    model = replace(model, steps=fit_steps(features, rows))
    model.save(out)
    (out / "README.md").write_text(_card(model, metrics, examples, len(rows)), encoding="utf-8")
    for part_name, values in metrics.items():
        for metric, value in values.items():
            print(f"{part_name:10s} {metric:65s} {value:6.3f}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.roles", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument("--encoder", default="minilm", help="name or folder of the encoder")
    parser.add_argument("--out", type=Path, default=MODEL, help="folder of the model")
    options = parser.parse_args()
    if not (options.data / "roles" / "dev.jsonl").exists():
        parser.error(f"--data {options.data}: there is no roles/dev.jsonl in it")
    # One thread: sums are taken in the same order each time.
    torch.set_num_threads(1)
    train(options.data, CachedEncoder(load_encoder(options.encoder), size=200_000), options.out)


if __name__ == "__main__":
    main()
