"""The role classifier: lists, clauses and shares, decision, artefact, and the real model."""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from extractor import SkillExtractor
from extractor.ai_skills import PREFERRED, AIVocabulary, find_ml_use, may_count, requirement_weight
from extractor.encoders import CachedEncoder, HashingEncoder, load_encoder
from extractor.errors import ArtefactError
from extractor.interfaces import Reading
from extractor.occupations import clean_title as clean_occupation_title
from extractor.records import OccupationMatch, Sentence, ZoneLabel
from extractor.role_model import FEATURES, TITLE_CLASSES, RoleModel
from extractor.roles import (
    MAX_EVIDENCE,
    RoleClassifier,
    RoleInput,
    _about_work,
    clean_title,
    occupation_classes,
)
from extractor.tasks import Clause, find_clauses, place_in, split_clauses
from extractor.zones import find_zones, split_sentences

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "extractor" / "models" / "roles" / "accurate"
DATA = ROOT / ".." / "shared" / "data"


def sentences(*parts: str | tuple[str, ZoneLabel]) -> tuple[str, list[Sentence]]:
    """An ad of one sentence a line; a bare string stands in the zone of duties."""
    text, found = "", []
    for part in parts:
        words, zone = part if isinstance(part, tuple) else (part, "duties")
        found.append(Sentence(len(text), len(text) + len(words), words, zone))
        text += words + "\n"
    return text, found


def ad(title: str | None, *parts: str | tuple[str, ZoneLabel], **more: object) -> RoleInput:
    text, found = sentences(*parts)
    return RoleInput(title, text, found, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def vocabulary() -> AIVocabulary:
    return AIVocabulary.load()


@pytest.fixture(scope="module")
def classifier() -> RoleClassifier:
    return RoleClassifier.load(CachedEncoder(load_encoder("accurate")))


def label(classifier: RoleClassifier, posting: RoleInput) -> str | None:
    return classifier.assess_batch([posting])[0][0].label


# --- Lists -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pytorch and scikit-learn", ["PyTorch", "scikit-learn"]),
        ("AI/ML models", ["machine learning"]),
        ("a rag for wiping", []),
        ("RAG with a vector database", ["retrieval-augmented generation", "vector database"]),
        ("maintain email servers in Thailand", []),
        ("feature stores, model-training runs", ["feature engineering", "model training"]),
        ("machine. Learning", []),
    ],
)
def test_vocabulary_matches_whole_words(
    vocabulary: AIVocabulary, text: str, expected: list[str]
) -> None:
    found = list(vocabulary.find(text, "building", "topic"))
    assert [mention.concept for mention in found] == expected
    assert all(text[m.start : m.end] == m.text for m in found)


def test_vocabulary_refuses_an_empty_form() -> None:
    with pytest.raises(ArtefactError, match="has 0 words"):
        AIVocabulary({"topic": {"--": "nothing"}}, version="0")


@pytest.mark.parametrize(
    ("sentence", "zone", "building", "using"),
    [
        ("Train and deploy machine learning models", "duties", 1, 0),
        ("No experience with machine learning is needed", "requirements", 0, 0),
        ("Machine learning models are built by another team", "duties", 0, 0),
        ("Not only build but also monitor ML models", "duties", 1, 0),
        ("Northwind builds large language models for hospitals", "other", 0, 0),
        ("We are a leader in deep learning", "other", 0, 0),
        ("We train neural networks for radar", "about", 0, 0),
        ("We use AI tools to screen applications", "how_to_apply", 0, 0),
        ("Write drafts with ChatGPT and check them", "duties", 0, 1),
        ("Join us to train machine learning models", "duties", 1, 0),
    ],
)
def test_what_counts_as_machine_learning(
    vocabulary: AIVocabulary, sentence: str, zone: ZoneLabel, building: int, using: int
) -> None:
    clause = Clause(0, len(sentence), sentence, zone)
    built, used = find_ml_use([clause], vocabulary)
    assert (len(built), len(used)) == (building, using)


def test_a_preferred_skill_counts_less_and_a_negated_one_nothing(vocabulary: AIVocabulary) -> None:
    text = "PyTorch would be an asset"
    clause = Clause(10, 10 + len(text), text, "requirements")
    built, _ = find_ml_use([clause], vocabulary)
    assert built[0].weight < 1
    assert built[0].mentions[0].start == 10
    unasked = clause._replace(text="You do not need PyTorch")
    assert find_ml_use([unasked], vocabulary) == ([], [])


def test_the_team_that_one_joins_is_no_duty(vocabulary: AIVocabulary) -> None:
    team = "Join our team on a mission to build the best AI platform"
    work = "Join the analytics team and build machine learning models"
    for text, weight, duty in ((team, PREFERRED, False), (work, 1.0, True)):
        (use,), _ = find_ml_use([Clause(0, len(text), text, "duties")], vocabulary)
        assert (use.weight, use.duty) == (weight, duty)


def test_every_occupation_has_a_class() -> None:
    classes = occupation_classes()
    assert sum("-" in code for code in classes) == 1016
    assert {name for name, _ in classes.values()} == set(TITLE_CLASSES)
    assert classes["15-2051.00"][0] == "created"
    assert classes["43-9021.00"] == ("threatened", True)
    assert classes["2221"][0] == "skilled"


# --- Clauses and shares ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("A third of your time goes to selling, the rest to filing", [1 / 3, 2 / 3]),
        ("70% of your time is research and 30% of your time is teaching", [0.7, 0.3]),
        ("60% data entry, 40% visits to clients", [0.6, 0.4]),
        ("Research (35% of the time) and engineering (65% of the time)", [0.35, 0.65]),
        ("Four of your five days are spent at the till", [0.8]),
        ("Most of your shift is spent feeding the press", [0.75]),
        ("You pack two thirds of the day, and one third of it you teach newcomers", [2 / 3, 1 / 3]),
        ("Night hours earn a quarter more", [None]),
        ("A salary of 110% of the hourly wage", [None]),
        ("Travel up to 25% of the time", [None]),
        ("You start at half past seven", [None]),
    ],
)
def test_stated_shares_of_time(text: str, shares: list[float | None]) -> None:
    found = [c.share for c in split_clauses(Sentence(0, len(text), text, "duties"))]
    assert found == [share if share is None else pytest.approx(share) for share in shares]


def test_clauses_keep_offsets_and_leave_out_boilerplate() -> None:
    posting = ad(
        "Clerk",
        ("Bakers since 1900", "about"),
        "Check delivery notes against orders; mainly key in invoices, file them, and post them",
        ("Occasionally greet visitors", "other"),
    )
    clauses = find_clauses(posting.sentences)
    assert all(posting.text[c.start : c.end] == c.text for c in clauses)
    assert not any("Bakers" in clause.text for clause in clauses)
    assert clauses[0].emphasis == 1.0
    assert clauses[-1].emphasis < 1.0


def test_shares_and_gender_are_no_part_of_the_work() -> None:
    shared = split_clauses(
        Sentence(0, 46, "You spend half of your day weighing parcels in", "duties")
    )
    assert shared[0].core == "weighing parcels in"
    his, hers = (Clause(0, 20, f"{who} mends her bicycle", "duties") for who in ("He", "She"))
    assert his.core == hers.core


@pytest.mark.parametrize(
    ("title", "core"),
    [
        ("Driver (m/f/d)", "Driver"),
        ("Saleswoman", "Salesperson"),
        ("Ward Clerk - Band 3", "Ward Clerk"),
        ("2023 Trainee - Web Developer - Spain", "Web Developer"),
        ("???", "???"),
    ],
)
def test_titles_are_cleaned(title: str, core: str) -> None:
    assert clean_title(title) == core


LONGEST, LONG = 1_000_000, 100_000


@pytest.mark.parametrize(
    ("unit", "length"),
    [("a", LONGEST), ("([", LONGEST), ("word ", LONGEST)]
    + [(u, LONG) for u in ("A", " ", "\n", "-", "Word ", "a ", "half of the ", "join ", "In a ")],
)
def test_reading_takes_time_in_proportion_to_the_length(
    vocabulary: AIVocabulary, unit: str, length: int
) -> None:
    # Quadratic patterns take minutes and more, linear ones a few seconds for a megabyte.
    text = ("Acme " + unit * length)[:length]
    start = time.process_time()
    clean_title(text)
    clean_occupation_title(text)
    clauses = find_clauses([Sentence(0, len(text), text, "other")])
    whole = Clause(0, len(text), text, "other")
    find_ml_use([*clauses, whole], vocabulary)
    may_count(whole)
    requirement_weight(whole)
    _about_work(text)
    assert all(clause.core for clause in clauses)
    assert time.process_time() - start < 30


# --- Decision --------------------------------------------------------------------------------


def test_weights_have_the_signs_of_the_definition() -> None:
    steps = json.loads((MODEL / "model.json").read_text("utf-8"))["steps"]
    assert set(steps) == set(FEATURES)
    for step, names in FEATURES.items():
        assert set(steps[step]) == {*names, "bias"}
        assert all(steps[step][name] >= 0 for name in names), step


OFFICE = ("Key in orders from paper forms", "File letters", "Type dictated letters")
ADVICE = ("Negotiate contracts with key clients", "Advise the board on strategy", "Lead the team")


def test_more_routine_work_never_looks_less_threatened(classifier: RoleClassifier) -> None:
    batch = [ad("Assistant", *OFFICE[:n], *ADVICE[n:]) for n in range(4)]
    found = [a.probabilities["threatened"] for a, _ in classifier.assess_batch(batch)]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.3


@pytest.mark.parametrize(
    ("title", "duties", "expected"),
    [
        ("ML Engineer", ("Train and deploy models in PyTorch", "Monitor model drift"), "created"),
        ("AI Ethicist", ("Audit models for algorithmic bias", "Write model cards"), "created"),
        ("Prompt Engineer", ("Write and evaluate prompts for an LLM",), "created"),
        ("Data Annotator", ("Draw bounding boxes on images for training data",), "created"),
        ("Payroll Clerk", ("Calculate wages", "Check timesheets", "File slips"), "threatened"),
        ("Warehouse Picker", ("Pick goods by list", "Pack and label boxes"), "threatened"),
        ("Lecturer", ("Teach courses on statistics", "Write and mark exams"), "augmented"),
        ("Web Developer", ("Write and review code", "Plan releases with the team"), "augmented"),
        ("Nurse", ("Wash and turn patients", "Change dressings", "Comfort families"), "unaffected"),
        ("Electrician", ("Rewire old houses", "Find faults and mend them"), "unaffected"),
    ],
)
def test_plain_cases(
    classifier: RoleClassifier, title: str, duties: tuple[str, ...], expected: str
) -> None:
    assert label(classifier, ad(title, *duties)) == expected


def test_the_employer_does_not_count(classifier: RoleClassifier) -> None:
    driver = ad(
        "Delivery Driver",
        ("Deepwell trains large language models and computer vision systems", "about"),
        "Deliver spare parts on a set round",
        "Load the van in the order of the stops",
    )
    assert label(classifier, driver) == "threatened"


def test_stated_shares_flip_the_class(classifier: RoleClassifier) -> None:
    frame = "You spend {} of your day packing biscuits on the belt and {} of it {}"
    leading = "coaching the crew, planning its shifts and settling disputes"
    few = ad("Crew Leader", frame.format("one tenth", "nine tenths", leading))
    many = ad("Crew Leader", frame.format("nine tenths", "one tenth", leading))
    few_p, many_p = (a.probabilities["threatened"] for a, _ in classifier.assess_batch([few, many]))
    assert many_p > few_p + 0.3
    assert label(classifier, many) == "threatened"


def test_result_is_explained(classifier: RoleClassifier) -> None:
    posting = ad(
        "Data Entry Clerk",
        "Key in orders from paper forms",
        "Use ChatGPT to draft standard letters",
        "File documents and scan letters",
        ("We pay well", "benefits"),
    )
    assessment, tasks = classifier.assess_batch([posting])[0]
    assert assessment.label == assessment.nearest == "threatened"
    assert assessment.channel == "cognitive"
    assert assessment.notes == ("transforming",)
    assert sum(assessment.probabilities.values()) == pytest.approx(1.0)
    weights = [abs(reason.weight) for reason in assessment.evidence]
    assert 0 < len(weights) <= MAX_EVIDENCE
    assert weights == sorted(weights, reverse=True)
    for reason in assessment.evidence:
        if reason.kind == "title":
            assert (reason.start, reason.end) == (None, None)
        else:
            assert posting.text[reason.start : reason.end] == reason.text
    assert [task.text for task in tasks] == [s.text for s in posting.sentences[:3]]
    assert tasks[0].scores.automation > 0.5
    assert tasks[0].scores.channel == "cognitive"


def test_vague_clauses_count_less(classifier: RoleClassifier) -> None:
    plain = ("Key in orders from paper forms", "File letters")
    vague = ("Work in different areas of the house", "Support what the team stands for")
    features = classifier.features([ad("Assistant", *plain, *vague)])[0]
    assert features.weights[:2].sum() > 1.5 * features.weights[2:].sum()


def test_channel_and_nearest(classifier: RoleClassifier) -> None:
    packer, cleaner, carer = classifier.assess_batch(
        [
            ad("Packer", "Pack boxes and stack pallets", "Feed the sealing machine"),
            ad("Cleaner", "Clean the homes of different customers", "Scrub kitchens and baths"),
            ad("Care Assistant", "Wash and dress residents", "Comfort people at the end of life"),
        ]
    )
    assert packer[0].channel == "physical"
    assert (cleaner[0].label, cleaner[0].nearest) == ("unaffected", "threatened")
    assert (carer[0].label, carer[0].nearest) == ("unaffected", "augmented")
    assert carer[0].channel is None


def test_abstains_with_a_reason(classifier: RoleClassifier) -> None:
    empty, _ = classifier.assess_batch(
        [ad(None, ("We pay well and on time, every month.", "benefits"))]
    )[0]
    assert empty.label is None
    assert empty.nearest is None
    assert empty.abstained is not None
    assert math.isclose(sum(empty.probabilities.values()), 1.0)
    assert classifier.assess_batch([]) == []


def test_occupations_help_where_the_title_is_missing(classifier: RoleClassifier) -> None:
    payroll = OccupationMatch(concept_id="o", label="payroll clerk", code="4313", score=0.9)
    duties = ("Work in the office with three colleagues on what comes in.",)
    with_match, without = classifier.assess_batch(
        [ad(None, *duties, occupations=(payroll,)), ad(None, *duties)]
    )
    assert with_match[0].probabilities["threatened"] > without[0].probabilities["threatened"]


def test_one_encode_call_for_a_batch(classifier: RoleClassifier) -> None:
    inner = classifier.encoder.encoder

    class Counting:
        name, dimension = inner.name, inner.dimension
        read_calls = encode_calls = 0

        def encode(self, texts: list[str]) -> np.ndarray:
            self.encode_calls += 1
            return inner.encode(texts)

        def read(self, texts: list[str]) -> list[Reading]:
            self.read_calls += 1
            return inner.read(texts)

    counting = Counting()
    counted = RoleClassifier(CachedEncoder(counting), classifier.model, classifier.vocabulary)
    counted.assess_batch([ad("Clerk", *OFFICE), ad("Lawyer", *ADVICE)])
    assert (counting.read_calls, counting.encode_calls) == (1, 1)  # sentences, and titles


def test_clauses_are_read_in_their_sentence_unless_they_speak_of_her_or_him() -> None:
    sentence = "You will pack boxes, then load vans."
    assert place_in(sentence, "pack boxes", 0) == (9, 19)
    assert place_in(sentence, "load vans.", 12) == (26, 36)
    assert place_in(sentence, "pack boxes", 12) is None
    assert place_in("She packs boxes.", "packs boxes", 0) is None


# --- Artefact --------------------------------------------------------------------------------


def test_another_encoder_is_refused() -> None:
    with pytest.raises(ArtefactError, match="hashing-256"):
        RoleClassifier.load(CachedEncoder(HashingEncoder()))


def test_other_vectors_under_the_same_name_are_refused(classifier: RoleClassifier) -> None:
    class Tuned:
        name, dimension = classifier.encoder.name, classifier.encoder.dimension

        def encode(self, texts: list[str]) -> np.ndarray:
            return np.roll(classifier.encoder.encode(texts), 1, axis=1)

    with pytest.raises(ArtefactError, match="gives other vectors"):
        RoleClassifier.load(CachedEncoder(Tuned()))


def test_missing_and_damaged_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="cannot be read"):
        RoleModel.load(tmp_path)
    shutil.copytree(MODEL, tmp_path / "cut")
    weights = tmp_path / "cut" / "heads.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ArtefactError, match="cannot be read"):
        RoleModel.load(tmp_path / "cut")
    shutil.copytree(MODEL, tmp_path / "new")
    manifest = tmp_path / "new" / "model.json"
    manifest.write_text(manifest.read_text().replace('"schema": 3', '"schema": 99'))
    with pytest.raises(ArtefactError, match="schema 99"):
        RoleModel.load(tmp_path / "new")


def test_model_survives_saving(tmp_path: Path) -> None:
    model = RoleModel.load(MODEL)
    model.save(tmp_path)
    again = RoleModel.load(tmp_path)
    assert again.steps == model.steps
    np.testing.assert_array_equal(again.title.weights, model.title.weights)
    np.testing.assert_array_equal(again.probe, model.probe)


# --- Minimal pairs and named examples ---------------------------------------------------------


def read_ads(path: Path) -> tuple[list[dict[str, str]], list[RoleInput]]:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    ads = [
        RoleInput(
            r["title"], r["text"], split_sentences(r["text"], find_zones(r["text"], r["title"]))
        )
        for r in rows
    ]
    return rows, ads


def pairs_right(classifier: RoleClassifier, path: Path) -> float:
    rows, ads = read_ads(path)
    right: dict[str, bool] = {}
    for row, (assessment, _) in zip(rows, classifier.assess_batch(ads), strict=True):
        right[row["pair"]] = right.get(row["pair"], True) and assessment.label == row["label"]
    return sum(right.values()) / len(right)


@pytest.mark.parametrize(
    ("name", "least"), [("role_pairs.jsonl", 0.80), ("role_pairs_untouched.jsonl", 0.75)]
)
def test_our_minimal_pairs(classifier: RoleClassifier, name: str, least: float) -> None:
    path = ROOT / "tests" / "data" / name
    rows, _ = read_ads(path)
    assert len({row["pair"] for row in rows}) == 32
    assert {bool(row["same_as_pair"]) for row in rows} == {True, False}
    assert pairs_right(classifier, path) >= least


@pytest.mark.skipif(not (DATA / "challenge").exists(), reason="development data are absent")
def test_published_minimal_pairs(classifier: RoleClassifier) -> None:
    assert pairs_right(classifier, DATA / "challenge" / "roles_flip.jsonl") >= 0.80


def test_ads_of_many_sectors(classifier: RoleClassifier) -> None:
    rows, ads = read_ads(ROOT / "tests" / "data" / "role_ads.jsonl")
    found = [assessment for assessment, _ in classifier.assess_batch(ads)]
    wrong = [row["title"] for row, a in zip(rows, found, strict=True) if a.label != row["label"]]
    assert len(rows) == 50
    assert len(wrong) <= 2, wrong
    near = [a.nearest == row["nearest"] for row, a in zip(rows, found, strict=True)]
    assert sum(near) >= 48


EXAMPLES = [
    ("Machine Learning Engineer", "created",
     "You train and deploy models that find defects in weld seams.\n"
     "You monitor them for drift and retrain them.\nYou know PyTorch and MLOps."),
    ("Data Scientist", "created",
     "You develop machine learning models that predict churn.\n"
     "You choose features, evaluate the models and present what you found."),
    ("AI Ethicist", "created",
     "You review our AI systems for unfair treatment of groups.\n"
     "You write model cards and guidelines and advise developers."),
    ("Data Analyst", "augmented",
     "You query sales data, build dashboards and explain trends to managers.\n"
     "You know SQL and spreadsheets."),
    ("Customer Service Representative", "threatened",
     "You answer calls about orders by the script.\nYou enter changes of address.\n"
     "You send standard replies to emails."),
    ("Production Worker", "threatened",
     "You assemble the same part on the line.\nYou feed the machine and remove finished pieces.\n"
     "You pack them into boxes."),
    ("Warehouse Worker", "threatened",
     "You pick orders with a scanner.\nYou pack parcels and stack pallets.\n"
     "You load lorries in the order of the list."),
    ("Radiologist", "augmented",
     "You interpret CT and MRI images and decide on the next steps with surgeons.\n"
     "You teach young doctors."),
    ("Nurse", "unaffected",
     "You wash and turn patients, change dressings and give injections.\n"
     "You comfort their families."),
    ("Accountant", "augmented",
     "You prepare the annual accounts and analyse deviations.\n"
     "You advise managers on tax and investment."),
    ("Plumber", "unaffected",
     "You mend burst pipes in old houses.\nYou fit baths and find out why a heater stays cold."),
    ("Teacher", "augmented",
     "You plan and give lessons in history.\nYou mark essays and talk with parents."),
    ("Literary Translator", "augmented",
     "You bring novels into English and find a voice for each author.\n"
     "You discuss passages with writers and editors."),
    ("Lorry Driver", "threatened",
     "You drive between two depots on the same route each night.\n"
     "You load, secure and unload the cargo."),
    ("Software Engineer", "augmented",
     "Our bank rebuilds its payment system.\nYou write and review Java code.\n"
     "You design interfaces and plan releases with the testers."),
    ("Driver", "threatened",
     "About us\nWe are an AI company that trains large language models.\n\nTasks\n"
     "- Drive the van on the set round between our offices\n- Load and unload parcels"),
]  # fmt: skip


@pytest.mark.model
@pytest.mark.parametrize(("title", "expected", "text"), EXAMPLES)
def test_named_examples(engine: SkillExtractor, title: str, expected: str, text: str) -> None:
    role = engine.extract(text, title=title).role
    assert role is not None
    assert role.label == expected
    assert role.evidence
    assert any(reason.points_to == expected for reason in role.evidence)
    assert all(reason.source for reason in role.evidence)
    for reason in role.evidence:
        if reason.start is not None:
            assert text[reason.start : reason.end] == reason.text


# --- What would change the label ---------------------------------------------------------------


def test_the_smallest_change_flips_the_label(classifier: RoleClassifier) -> None:
    routine = ("Key in orders from paper forms", "File letters")
    advice = "Negotiate contracts with key clients"
    posting = ad("Assistant", *routine, advice)
    assessment, _ = classifier.assess_batch([posting])[0]
    assert assessment.label == "threatened"
    assert assessment.flips_to not in (None, "threatened")
    removed = [assessment.evidence[i] for i in assessment.flips_without]
    assert removed
    left = [part for part in (*routine, advice) if part not in {r.text for r in removed}]
    title = None if any(r.kind == "title" for r in removed) else "Assistant"
    if left and title:
        assert label(classifier, ad(title, *left)) == assessment.flips_to


def test_a_plain_case_is_not_flipped_by_one_duty(classifier: RoleClassifier) -> None:
    duties = (*OFFICE, "Sort the post", "Copy figures into a table", "Update the address list")
    assessment, _ = classifier.assess_batch([ad("Data Entry Clerk", *duties)])[0]
    assert len(assessment.flips_without) != 1
