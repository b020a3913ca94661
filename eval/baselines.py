"""Trivial baselines: what a system has to beat to be worth its cost."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ahocorasick_rs
import bm25s
import numpy as np
import Stemmer

from eval.errors import EvaluationError
from eval.metrics import SEED
from extractor.ai_skills import AIVocabulary, find_ml_use
from extractor.records import Channel, MainRoleClass, RoleClass
from extractor.tasks import find_clauses
from extractor.zones import find_zones, split_sentences
from taxonomies.records import Concept, Kind

FOLDS = 5
MIN_ROWS_FOR_FOLDS = 50


class BM25:
    """BM25 over all names of concepts; a concept scores as its best name (Lucene's variant)."""

    def __init__(self, concepts: Iterable[Concept]) -> None:
        """Index the names.

        Raises:
            EvaluationError: There is no concept.
        """
        concepts = list(concepts)
        if not concepts:
            raise EvaluationError("the taxonomy has no concept of the kind that this task ranks")
        self._ids = np.array([concept.id for concept in concepts])
        self._first_name = np.cumsum([0, *(len(concept.names) for concept in concepts[:-1])])
        self._stem = Stemmer.Stemmer("english")
        names = [name for concept in concepts for name in concept.names]
        self._index = bm25s.BM25()
        self._index.index(self._tokenize(names), show_progress=False)

    def rank(self, texts: Sequence[str], k: int) -> list[list[str]]:
        """Ids of the k best concepts for each text, best first; without any shared word, none."""
        return [self._rank(tokens, k) for tokens in self._tokenize(texts)]

    def _tokenize(self, texts: Sequence[str]) -> list[list[str]]:
        tokens: list[list[str]] = bm25s.tokenize(
            list(texts),
            token_pattern=r"\w+[+#]*",  # noqa: S106
            stopwords="en",
            stemmer=self._stem,
            return_ids=False,
            show_progress=False,
        )
        return tokens

    def _rank(self, tokens: list[str], k: int) -> list[str]:
        known = [token for token in tokens if token in self._index.vocab_dict]
        if not known:
            return []
        scores = np.maximum.reduceat(self._index.get_scores(known), self._first_name)
        best = np.argsort(-scores, kind="stable")[:k]
        return [str(concept_id) for concept_id in self._ids[best[scores[best] > 0]]]


class ExactMatch(NamedTuple):
    """A preferred label that stands in a text."""

    start: int
    end: int
    concept_id: str
    kind: Kind


class ExactLabels:
    """Preferred labels found as they are: without regard to case, on token boundaries.

    Of overlapping labels the leftmost and then the longest counts.
    """

    def __init__(self, concepts: Iterable[Concept]) -> None:
        found: dict[str, list[Concept]] = {}
        for concept in concepts:
            found.setdefault(fold(concept.label), []).append(concept)
        self._concepts = list(found.values())
        self._automaton = ahocorasick_rs.AhoCorasick(list(found))

    def find(self, text: str) -> list[ExactMatch]:
        """Matches in their order; concepts with the same label stand at the same place."""
        folded = fold(text)
        places = [
            (start, end, self._concepts[label])
            for label, start, end in self._automaton.find_matches_as_indexes(
                folded, overlapping=True
            )
            if not continues(folded, start) and not continues(folded, end)
        ]
        matches, behind = [], 0
        for start, end, concepts in sorted(places, key=lambda place: (place[0], -place[1])):
            if start >= behind:
                matches += [ExactMatch(start, end, c.id, c.kind) for c in concepts]
                behind = end
        return matches


def fold(text: str) -> str:
    """Lower case and single blanks for white space, of the same length."""
    return "".join(
        " " if char.isspace() else low if len(low := char.lower()) == 1 else char for char in text
    )


def continues(text: str, at: int) -> bool:
    """Whether a token goes on across the offset."""
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


def stands_in(text: str, name: str) -> bool:
    """Whether a folded name stands in a folded text on token boundaries.

    >>> stands_in("we use java and c++", "java"), stands_in("javascript", "java")
    (True, False)
    """
    start = text.find(name)
    while start >= 0:
        if not continues(text, start) and not continues(text, start + len(name)):
            return True
        start = text.find(name, start + 1)
    return False


def majority(labels: Sequence[Hashable]) -> Hashable:
    """The most frequent label; of several, the first in the sequence."""
    return Counter(labels).most_common(1)[0][0]


class RolePrediction(NamedTuple):
    """A role class as a system gives it; None is an abstention."""

    label: str | None
    nearest: str | None = None
    channel: str | None = None
    probabilities: dict[str, float] | None = None


class _TitleRule(NamedTuple):
    words: str
    label: RoleClass
    nearest: MainRoleClass
    channel: Channel | None = None


_TITLE_RULES = [
    _TitleRule(
        r"machine learning|ml|mlops|llmops|ai|a\.i\.|artificial intelligence|deep learning|nlp"
        r"|natural language|computer vision|llm|generative|gen ?ai|data scien\w+|prompt"
        r"|annotat\w+|data label\w+",
        "created",
        "created",
    ),
    _TitleRule(
        r"clerks?|clerical|data entry|typist|transcription\w*|book-?keep\w+|payroll|receptionist"
        r"|cashier|telemarket\w+|call cent(?:er|re)|customer service|dispatcher|teller"
        r"|proof-?reader|secretary|administrative assistant|office assistant|collections?"
        r"|claims|scheduler|billing|accounts (?:payable|receivable)|filing",
        "threatened",
        "threatened",
        "cognitive",
    ),
    _TitleRule(
        r"pick(?:er|ing)|pack(?:er|ing|ager)|warehouse|machine operator|production operator"
        r"|assembl\w+|palleti[sz]er|forklift|drivers?|courier|sort(?:er|ing)|production worker"
        r"|operative",
        "threatened",
        "threatened",
        "physical",
    ),
    _TitleRule(
        r"clean\w*|housekeep\w*|janitor\w*|kitchen|dishwasher|security (?:guard|officer)|guard"
        r"|labou?rer|machinist|operator",
        "unaffected",
        "threatened",
    ),
    _TitleRule(
        r"nurs\w+|care(?:r| assistant| worker)|caregiver|chef|cook|electrician|plumber|mechanic"
        r"|welder|carpenter|technician|therapist|hair\w*|gardener|maintenance|dental|midwife"
        r"|paramedic|fitter|installer|roofer|painter",
        "unaffected",
        "augmented",
    ),
]
_DEFAULT_RULE = _TitleRule("", "augmented", "augmented")
_TITLE_PATTERNS = [
    (re.compile(rf"(?<!\w)(?:{rule.words})(?!\w)", re.IGNORECASE), rule) for rule in _TITLE_RULES
]


def role_by_title(title: str) -> RolePrediction:
    """The role class by the first list of words that the title meets, else `augmented`."""
    rule = next((rule for words, rule in _TITLE_PATTERNS if words.search(title)), _DEFAULT_RULE)
    return RolePrediction(rule.label, rule.nearest, rule.channel, {rule.label: 1.0})


_ILO_ROLES: dict[str, RoleClass] = {
    "Not Exposed": "unaffected",
    "Minimal Exposure": "unaffected",
    "Exposed: Gradient 1": "augmented",
    "Exposed: Gradient 2": "augmented",
    "Exposed: Gradient 3": "threatened",
    "Exposed: Gradient 4": "threatened",
}


def read_ilo_roles(path: Path) -> dict[str, RoleClass]:
    """The role class of ISCO-08 unit groups by their exposure in ILO Working Paper 140 (2025).

    Args:
        path: JSON lines with `isco` and `ilo_potential_2025`.

    Returns:
        Unit group → class; ILO has none for what machine learning creates.
    """
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        row["isco"]: _ILO_ROLES[row["ilo_potential_2025"]]
        for row in rows
        if row["ilo_potential_2025"] in _ILO_ROLES
    }


def role_by_occupation(codes: Iterable[str], classes: Mapping[str, RoleClass]) -> RolePrediction:
    """The class of the first occupation whose unit group has one; `augmented` without any.

    Args:
        codes: Codes of the matched occupations, best first; those that do not begin with a unit
            group of ISCO-08 are passed over.
        classes: Unit group → class.
    """
    label = next((classes[code[:4]] for code in codes if code[:4] in classes), "augmented")
    nearest = "augmented" if label == "unaffected" else label
    return RolePrediction(label, nearest, None, {label: 1.0})


def role_by_skills(title: str | None, text: str) -> RolePrediction:
    """The class by the lists of AI skills alone.

    `created` with two clauses about building ML, which the definition asks for; else
    `augmented`, the most frequent class.
    """
    sentences = split_sentences(text, find_zones(text, title))
    building, _ = find_ml_use(find_clauses(sentences), AIVocabulary.load())
    label = "created" if len(building) > 1 else "augmented"
    return RolePrediction(label, label, None, {label: 1.0})


def role_by_majority(
    labels: Sequence[str], nearest: Sequence[str], channels: Sequence[str]
) -> RolePrediction:
    """The most frequent class, with the classes' shares as probabilities."""
    shares = {label: count / len(labels) for label, count in Counter(labels).items()}
    return RolePrediction(
        str(majority(labels)),
        str(majority(nearest)) if nearest else None,
        str(majority(channels)) if channels else None,
        shares,
    )


def roles_by_tfidf(
    texts: Sequence[str], labels: Sequence[str], documents: Sequence[Hashable]
) -> list[RolePrediction] | None:
    """TF-IDF and logistic regression, every row predicted by a model that has not seen it.

    Args:
        texts: Title and text of the ads.
        labels: Their gold classes.
        documents: What is kept in one fold, such as the two ads of a pair.

    Returns:
        A prediction a row; None if there are fewer than 50 rows, or not two classes with at
        least five documents each.

    Raises:
        EvaluationError: scikit-learn is not installed.
    """
    per_class = Counter(label for label, _ in dict.fromkeys(zip(labels, documents, strict=True)))
    if len(texts) < MIN_ROWS_FOR_FOLDS or sum(n >= FOLDS for n in per_class.values()) < 2:
        return None
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedGroupKFold
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise EvaluationError(
            "the baseline of this task needs scikit-learn: pip install 'jobshift[eval]'"
        ) from None
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
    predictions: dict[int, RolePrediction] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(folds.split(texts, labels, [str(document) for document in documents]))
    for seen, unseen in splits:
        model = make_pipeline(
            TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), stop_words="english"),
            LogisticRegression(C=10, class_weight="balanced", max_iter=1000),
        )
        model.fit([texts[i] for i in seen], [labels[i] for i in seen])
        given = model.predict_proba([texts[i] for i in unseen])
        for i, row in zip(unseen, given, strict=True):
            probabilities = dict(zip(model.classes_, map(float, row), strict=True))
            ranked = sorted(probabilities, key=lambda label: -probabilities[label])
            nearest = next((label for label in ranked if label != "unaffected"), None)
            predictions[i] = RolePrediction(ranked[0], nearest, None, probabilities)
    return [predictions[i] for i in range(len(texts))]
