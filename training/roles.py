"""Trains the role classifier: `python -m training.roles --data ../shared/data`.

Four small heads on sentence embeddings (kind of duty, duty or not, class of a title, building ML
or not) and the few weights that combine them into a decision. Labels of occupations and of short
duties are ours (`extractor/data/occupation_classes.csv`, `training/duty_phrases.toml`), those of
tasks are published ones. The run is seeded: it writes the same weights again, up to the rounding of
the machine, and the model card.
"""

from __future__ import annotations

import argparse
import csv
import tomllib
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, f1_score
from sklearn.model_selection import GroupKFold, KFold, RepeatedStratifiedKFold

from extractor.ai_skills import AIVocabulary, may_count
from extractor.encoders import CachedEncoder, load_encoder
from extractor.interfaces import Encoder, Vectors
from extractor.records import ROLE_CLASSES
from extractor.role_model import (
    FEATURES,
    PRIOR,
    PROBE,
    TASK_KINDS,
    TITLE_KINDS,
    Head,
    LabelledFeatures,
    RoleModel,
    fit_steps,
)
from extractor.roles import (
    MODELS,
    RoleClassifier,
    RoleFeatures,
    RoleInput,
    clean_title,
    occupation_channels,
    occupation_classes,
)
from extractor.tasks import Clause
from extractor.zones import find_zones, split_sentences
from training.rows import Row, read_rows

SEED = 20240501
VERSION = "1.4.0"
HERE = Path(__file__).parent
PAIRS = HERE.parent / "tests" / "data" / "role_pairs.jsonl"
"""Minimal pairs of our own: the part that weights may be tuned on."""

PHRASE_WEIGHT = 8.0
"""Weight of one of our phrases against a task of a clear occupation."""

BATCH = 256
MEMBERS = 3
"""Heads that are averaged: short clauses are judged less by chance."""

DROPOUT = 0.3
CLEAR_TITLE = 0.8
"""Probability from which the class of a title is clear enough to teach."""

TITLE_SHARE = 0.3
"""How far the kind of a duty in an unlabelled ad is drawn towards that of the title."""

BALANCE = 0.7
"""How far classes are balanced: 0 leaves their frequencies, 1 makes them equal."""

Floats = NDArray[np.float64]

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


def _examples(rows: Sequence[tuple[str, Sequence[float], float, str]]) -> Examples:
    texts, targets, weights, groups = zip(*rows, strict=True)
    return Examples(list(texts), np.array(targets), np.array(weights), list(groups))


def task_examples(data: Path) -> Examples:
    """Tasks with the kind of work they are: O*NET, ILO and our own phrases."""
    classes, channels = occupation_classes(), occupation_channels()
    rows: list[tuple[str, Sequence[float], float, str]] = []
    for row in read_rows(data / "ai-exposure" / "gptsaregpts_tasks.jsonl"):
        code = row["onet_soc"]
        if code not in classes or not isinstance(row["task"], str):
            continue
        label, clear = classes[code]
        table = {
            "created": _EXPERT,
            "augmented": _EXPERT,
            "skilled": _SKILLED,
            "manual": _MANUAL,
            "threatened": _OFFICE_ROUTINE if channels.get(code) == "cognitive" else _MANUAL_ROUTINE,
        }[label]
        rows.append((row["task"], table[row["gpt4_automation"]], 1.0 if clear else 0.4, code))
    for row in read_rows(data / "ai-exposure" / "ilo_tasks.jsonl"):
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
    """Titles with the kind of their occupation; titles of ML work are told by our list.

    Args:
        data: Folder of the development data.
        common: Whether to add our list of common titles.
    """
    vocabulary = AIVocabulary.load()
    classes, channels = occupation_classes(), occupation_channels()
    votes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    source: dict[str, str] = {}
    for row in read_rows(data / "onet-29.3" / "occupations.jsonl"):
        label, clear = classes[row["id"]]
        label = channels.get(row["id"], label)
        reported = set(row.get("reportedTitles", ()))
        for title in [row["label"], *row.get("alternateTitles", ())]:
            weight = 1.0 if clear else 0.4
            weight *= 3.0 if title == row["label"] else 2.0 if title in reported else 1.0
            votes[clean_title(title)][label] += weight
            source.setdefault(clean_title(title), row["id"])
    rows: list[tuple[str, Sequence[float], float, str]] = []
    identity = np.eye(len(TITLE_KINDS))
    for title, found in sorted(votes.items()):
        groups = {m.group for m in vocabulary.find(title, "ml_title", "data_science_title")}
        if groups and not any(True for _ in vocabulary.find(title, "not_ml_title")):
            rows.append((title, identity[0], 1.0, source[title]))
            continue
        found["augmented"] += found.pop("created", 0.0)
        total = sum(found.values())
        target = sum(identity[TITLE_KINDS.index(c)] * n / total for c, n in found.items())
        rows.append((title, target, min(total, 3.0), source[title]))
    subjects = ("", "Senior ", "Junior ", "Lead ", "Principal ", "Staff ", "Intern ")
    phrases = tomllib.loads((HERE / "duty_phrases.toml").read_text("utf-8"))
    for title in phrases["ml_titles"]:
        rows += [(prefix + title, identity[0], 1.0, title) for prefix in subjects]
    for label, titles in phrases["titles"].items() if common else ():
        one_hot = identity[TITLE_KINDS.index(label)]
        rows += [(prefix + title, one_hot, 3.0, title) for title in titles for prefix in subjects]
    return _examples(rows)


def unlabelled_ads(data: Path) -> list[Row]:
    """A sample of real ads."""
    ads = read_rows(data / "ads" / "ads.jsonl")
    return [ads[i] for i in np.random.default_rng(SEED).permutation(len(ads))[:700]]


def ad_examples(
    data: Path, encoder: Encoder, *, task: Head, duty: Head, title: Head
) -> list[tuple[str, Sequence[float], float, str]]:
    """Duties of unlabelled ads with the kind that the task head gives, drawn towards the title's.

    The tasks of O*NET and ILO lack the vague wording of ads. A vague sentence that stands in ads
    of one class of titles more often than in others is a hint of their kind of work. Ads whose
    title is not clear, and the labelled ads, are left out.
    """
    labelled_texts = {row["text"] for row in read_rows(data / "roles" / "dev.jsonl")}
    ads = [ad for ad in unlabelled_ads(data) if ad["title"] and ad["text"] not in labelled_texts]
    rows: list[tuple[str, Sequence[float], float, str]] = []
    titles = title.probabilities(encoder.encode([clean_title(ad["title"]) for ad in ads]))
    for ad, by_title in zip(ads, titles, strict=True):
        created, cognitive, physical, augmented, skilled, manual = by_title
        kind = np.array([cognitive, physical, created + augmented, skilled + manual])
        if max(created, cognitive + physical, augmented, skilled + manual) < CLEAR_TITLE:
            continue
        zones = find_zones(ad["text"], ad["title"])
        texts = [
            sentence.text
            for sentence in split_sentences(ad["text"], zones)
            if sentence.zone == "duties" and 15 < len(sentence.text) < 300
        ]
        if not texts:
            continue
        vectors = encoder.encode(texts)
        targets = (1 - TITLE_SHARE) * task.probabilities(vectors) + TITLE_SHARE * kind
        rows += [
            (text, target, 1.0, f"ad-{ad['id']}")
            for text, target, is_duty in zip(
                texts, targets, duty.probabilities(vectors)[:, 1], strict=True
            )
            if is_duty > 0.4
        ]
    return rows


def duty_examples(data: Path) -> Examples:
    """Sentences under headings of duties against sentences of the other sections."""
    rows: list[tuple[str, Sequence[float], float, str]] = []
    for ad in unlabelled_ads(data):
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


def ml_examples(data: Path) -> Examples:
    """Clauses about building ML, and others.

    Statements and sentences with a word of our lists are positive, also without that word: the
    head is there for wordings that the lists lack. Unlisted statements count by their published
    score; sentences are negative in ads without any listed word.
    """
    vocabulary = AIVocabulary.load()
    no, yes = (1.0, 0.0), (0.0, 1.0)
    rows: list[tuple[str, Sequence[float], float, str]] = []

    def positive(text: str, group: str) -> bool:
        found = list(vocabulary.find(text, "building", "topic"))
        if found:
            rows.append((text, (0.05, 0.95), 1.0, group))
            for mention in reversed(found):
                text = text[: mention.start] + text[mention.end :]
            rows.append((" ".join(text.split()), (0.4, 0.6), 0.4, group))
        return bool(found)

    for i, row in enumerate(read_rows(data / "ai-statements" / "ai_statements.jsonl")):
        if i % 3:  # a third is enough
            continue
        listed = row["score_v2"] >= 0.45 and positive(row["text"], row["id"])
        if not listed and row["strict"] > 0:
            rows.append((row["text"], (0.4, 0.6), 0.5, row["id"]))
        elif not listed and row["score_v2"] < 0.35:
            rows.append((row["text"], no, 1.0, row["id"]))
    ads: dict[str, list[str]] = defaultdict(list)
    for text, group in zip(*duty_examples(data)[::3], strict=True):
        ads[group].append(text)
    for group, texts in ads.items():
        if group == "phrase":
            rows += [(text, no, 4.0, group) for text in texts]
            continue
        clauses = [Clause(0, len(text), text, "duties") for text in texts]
        found = [may_count(c) and positive(c.text, group) for c in clauses]
        if not any(found):
            rows += [(text, no, 1.0, group) for text in texts]
    phrases = tomllib.loads((HERE / "duty_phrases.toml").read_text("utf-8"))
    rows += [(text, yes, PHRASE_WEIGHT, text) for text in phrases["ml_work"]]
    rows += [(text, no, PHRASE_WEIGHT, text) for text in phrases["no_ml_work"]]
    return _examples(rows)


def fit_head(
    vectors: Vectors, examples: Examples, *, units: int = 128, epochs: int = 20, seed: int = SEED
) -> Head:
    """Fit a head on soft labels, all classes weighing alike.

    Args:
        vectors: Shape (texts, dimension).
        examples: Labels and weights.
        units: Units of the hidden layer.
        epochs: Passes over the texts.
        seed: Of the first weights and the order of the texts.
    """
    torch.manual_seed(seed)
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


def labelled(
    features: Sequence[RoleFeatures], rows: Sequence[Row], *, nearest: bool = True
) -> list[LabelledFeatures]:
    """Labelled ads as the weights of the decision are fitted to them."""
    return [
        LabelledFeatures(f.values, row["label"], row.get("nearest") if nearest else None)
        for f, row in zip(features, rows, strict=True)
    ]


def role_input(row: Row) -> RoleInput:
    """An ad of a labelled file as the classifier reads it: no skills, no occupations."""
    zones = find_zones(row["text"], row["title"])
    return RoleInput(row["title"], row["text"], split_sentences(row["text"], zones))


def fit_ensemble(vectors: Vectors, examples: Examples, *, units: int = 128) -> Head:
    """Fit `MEMBERS` heads from different seeds and average their logits, as one wider head."""
    heads = [
        fit_head(vectors, examples, units=units, seed=SEED + member) for member in range(MEMBERS)
    ]
    return Head(
        np.concatenate([head.hidden_weights for head in heads]),
        np.concatenate([head.hidden_bias for head in heads]),
        np.concatenate([head.weights for head in heads], axis=1) / MEMBERS,
        np.sum([head.bias for head in heads], axis=0) / MEMBERS,
    )


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
        for row in read_rows(data / "ai-exposure" / "gptsaregpts_tasks.jsonl")
        if (row["task"], row["onet_soc"]) in by_text
    ]
    levels = [float(row["gpt4_automation"][1]) for row, _ in rows]
    exposed = [float(row["gpt4_exposure"] != "E0") for row, _ in rows]
    means: dict[str, list[Floats]] = defaultdict(list)
    for row, kinds in rows:
        means[row["onet_soc"][:7]].append(kinds)
    occupation = {code: np.mean(kinds, axis=0) for code, kinds in means.items()}
    published = {row["soc2018"]: row for row in read_rows(data / "ai-exposure" / "soc2018.jsonl")}

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


def isco_of_onet(data: Path) -> dict[str, set[str]]:
    """ISCO-08 unit groups of each O*NET occupation, through ESCO."""
    with zipfile.ZipFile(data / "esco-1.1.1" / "classification_en.zip") as archive:
        name = next(n for n in archive.namelist() if n.endswith("occupations_en.csv"))
        lines = archive.read(name).decode("utf-8").splitlines(keepends=True)
    groups = {row["conceptUri"]: row["iscoGroup"] for row in csv.DictReader(lines)}
    found: dict[str, set[str]] = defaultdict(set)
    for row in read_rows(data / "crosswalk-onet-esco" / "onet_esco.jsonl"):
        if row["uri"] in groups:
            found[row["onet_soc"]].add(groups[row["uri"]])
    return found


ILO_CLASSES = {
    "2025": {
        "Not Exposed": 0, "Minimal Exposure": 0, "Exposed: Gradient 1": 1,
        "Exposed: Gradient 2": 1, "Exposed: Gradient 3": 2, "Exposed: Gradient 4": 2,
    },
    "2023": {"Not affected": 0, "Augmentation Potential": 1, "Automation Potential": 2},
}  # fmt: skip
"""Three classes of occupations: hardly exposed, in part, for the greater part. The "big unknown"
of 2023 is none."""


def ilo_agreement(
    data: Path, examples: Examples, vectors: Vectors, encoder: Encoder
) -> dict[str, float]:
    """Agreement with the classes of ILO on ISCO-08 groups that the task head has not seen.

    In each of five folds of the groups, their ILO tasks and the O*NET tasks of every occupation
    that maps to one of them are left out. Kinds of the tasks of a group, averaged, and their
    squares (ILO's middle classes lie between bounds) are turned into a class by a logistic model
    fitted on the other folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    tasks: dict[str, list[str]] = defaultdict(list)
    for row in read_rows(data / "ai-exposure" / "ilo_tasks.jsonl"):
        if isinstance(row["task"], str):
            tasks[row["isco"]].append(row["task"].rstrip(";."))
    published = {row["isco"]: row for row in read_rows(data / "ai-exposure" / "isco08.jsonl")}
    groups = sorted(code for code in tasks if code in published)
    encoded = {code: encoder.encode(tasks[code]) for code in groups}
    of_onet = isco_of_onet(data)
    known = [of_onet.get(group, {group.removeprefix("isco-")}) for group in examples.groups]
    folds = list(KFold(5, shuffle=True, random_state=SEED).split(groups))
    kinds = np.zeros((len(groups), len(TASK_KINDS)))
    for _, test in folds:
        held = {groups[i] for i in test}
        train = np.array([not codes & held for codes in known])
        part = Examples([], examples.targets[train], examples.weights[train], [])
        head = fit_head(vectors[train], part)
        for i in test:
            kinds[i] = head.probabilities(encoded[groups[i]]).mean(axis=0)
    shares = np.hstack([kinds, kinds**2])
    metrics = {}
    for year, classes in ILO_CLASSES.items():
        names = [published[code][f"ilo_potential_{year}"] for code in groups]
        expected = np.array([classes.get(name, -1) for name in names])
        predicted = np.full(len(groups), -1)
        for train_rows, test in folds:
            kept = [i for i in train_rows if expected[i] >= 0]
            model = make_pipeline(StandardScaler(), LogisticRegression(C=100, max_iter=3000))
            predicted[test] = model.fit(shares[kept], expected[kept]).predict(shares[test])
        scored = expected >= 0
        metrics[f"three classes of ILO {year}, kappa over held-out groups"] = float(
            cohen_kappa_score(expected[scored], predicted[scored])
        )
    return metrics


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
    classifier: RoleClassifier,
    features: Sequence[RoleFeatures],
    rows: Sequence[Row],
    more: Sequence[LabelledFeatures] = (),
) -> dict[str, float]:
    """Repeated stratified cross-validation of the weights of the decision, 5 folds ten times.

    Args:
        classifier: The classifier; its weights are replaced.
        features: Features of the ads.
        rows: The ads.
        more: Other ads that the weights are fitted on in every fold.
    """
    truth = np.array([row["label"] for row in rows])
    nearest = np.array([row["nearest"] for row in rows])
    names = np.array(ROLE_CLASSES)
    ads = labelled(features, rows)
    splits = RepeatedStratifiedKFold(n_splits=5, n_repeats=10, random_state=SEED)
    gold: list[int] = []
    probabilities: list[list[float]] = []
    near: list[bool] = []
    for train, test in splits.split(np.zeros(len(rows)), truth):
        steps = fit_steps([*(ads[i] for i in train), *more])
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


VARIANTS = "about sixty"
"""How many forms of the model were compared on the development ads before this one was kept."""


def _card(
    model: RoleModel,
    metrics: dict[str, dict[str, float]],
    examples: dict[str, Examples],
    rows: int,
    pairs: int,
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
        title_kinds=", ".join(f"`{kind}`" for kind in TITLE_KINDS),
        task_texts=len(examples["task"].texts),
        ad_texts=sum(group.startswith("ad-") for group in examples["task"].groups),
        title_share=TITLE_SHARE,
        duty_texts=len(examples["duty"].texts),
        title_texts=len(examples["title"].texts),
        ml_texts=len(examples["ml"].texts),
        pairs=pairs,
        steps=", ".join(f"`{step}`" for step in FEATURES),
        rows=rows,
        folds="5-fold stratified cross-validation, repeated ten times",
        figures=figures,
        variants=VARIANTS,
        ablation=f"{metrics['decision without common titles']['macro F1']:.3f}",
    )


def train(data: Path, encoder: CachedEncoder, out: Path) -> None:
    """Train all parts, evaluate them, and write the model with its card."""
    examples = {
        "task": task_examples(data),
        "duty": duty_examples(data),
        "title": title_examples(data),
        "ml": ml_examples(data),
    }
    heads, metrics = {}, {}
    for name, part in examples.items():
        print(f"{name}: {len(part.texts):,} texts")
        vectors = encoder.encode(part.texts)
        heads[name] = fit_ensemble(vectors, part, units=32 if name == "ml" else 128)
        predicted = out_of_fold(vectors, part)
        if name == "task":
            metrics[name] = task_metrics(data, part, predicted)
            metrics["occupation"] = ilo_agreement(data, part, vectors, encoder)
        else:
            hits = predicted.argmax(axis=1) == part.targets.argmax(axis=1)
            metrics[name] = {"accuracy": float(np.average(hits, weights=part.weights))}
    of_ads = ad_examples(
        data, encoder, task=heads["task"], duty=heads["duty"], title=heads["title"]
    )
    print(f"task, with ads: {len(of_ads):,} texts more")
    examples["task"] = _examples([*zip(*examples["task"], strict=True), *of_ads])
    heads["task"] = fit_ensemble(encoder.encode(examples["task"].texts), examples["task"])
    model = RoleModel(
        encoder=encoder.name,
        steps=PRIOR,
        version=VERSION,
        probe=encoder.encode([PROBE])[0].astype(np.float64),
        **heads,
    )
    classifier = RoleClassifier(encoder, model, AIVocabulary.load())
    rows = read_rows(data / "roles" / "dev.jsonl")
    features = classifier.features([role_input(row) for row in rows])
    pairs = read_rows(PAIRS)

    def of_pairs(classifier: RoleClassifier) -> list[LabelledFeatures]:
        found = classifier.features([role_input(row) for row in pairs])
        return labelled(found, pairs, nearest=False)  # they test the label alone

    more = of_pairs(classifier)
    metrics["decision"] = cross_validate(classifier, features, rows, more)
    bare = title_examples(data, common=False)
    bare_model = replace(model, title=fit_ensemble(encoder.encode(bare.texts), bare))
    bare_classifier = RoleClassifier(encoder, bare_model, classifier.vocabulary)
    bare_features = bare_classifier.features([role_input(row) for row in rows])
    scores = cross_validate(bare_classifier, bare_features, rows, of_pairs(bare_classifier))
    metrics["decision without common titles"] = {"macro F1": scores["macro F1"]}
    model = replace(model, steps=fit_steps([*labelled(features, rows), *more]))
    model.save(out)
    (out / "README.md").write_text(
        _card(model, metrics, examples, len(rows), len(pairs)), encoding="utf-8"
    )
    for part_name, values in metrics.items():
        for metric, value in values.items():
            print(f"{part_name:10s} {metric:65s} {value:6.3f}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.roles", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the development data")
    parser.add_argument("--encoder", default="accurate", help="name or folder of the encoder")
    parser.add_argument("--out", type=Path, help="folder of the model")
    options = parser.parse_args()
    if not (options.data / "roles" / "dev.jsonl").exists():
        parser.error(f"--data {options.data}: there is no roles/dev.jsonl in it")
    out: Path = options.out or MODELS / options.encoder
    # One thread: sums are taken in the same order each time.
    torch.set_num_threads(1)
    train(options.data, CachedEncoder(load_encoder(options.encoder), size=200_000), out)


if __name__ == "__main__":
    main()
