"""Names are matched by whole words; context decides where a name is a homonym."""

import json
import string
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractor.errors import ArtefactError
from extractor.mentions import MentionMatcher, surface_forms
from taxonomies import Concept

ROWS = (Path(__file__).parent / "data" / "mini_taxonomy.jsonl").read_text().splitlines()
CONCEPTS = tuple(
    Concept(
        row["id"],
        row["label"],
        row["kind"],
        tuple(row["alt_labels"]),
        description=row["description"],
    )
    for row in map(json.loads, ROWS)
    if row["kind"] != "occupation"
)
MATCHER = MentionMatcher.build(CONCEPTS)


def found(text):
    """(words of the text, id of the concept) for every mention."""
    return [
        (text[m.start : m.end], CONCEPTS[position].id)
        for m in MATCHER.find(text)
        for position, _ in m.concepts
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Reports in Power BI.", [("Power BI", "m:powerbi")]),
        ("maintain power equipment", [("power equipment", "m:power")]),
        ("Managing budgets of teams", [("Managing budgets", "m:budget")]),
        ("PYTHON and python", [("PYTHON", "m:python"), ("python", "m:python")]),
        ("C++/Java", [("C++", "m:cpp"), ("Java", "m:java")]),
        ("Machine-learning models", [("Machine-learning", "m:ml")]),
        ("Python, R and SQL", [("Python", "m:python"), ("R", "m:r"), ("SQL", "m:sql")]),
        ("statistical programming in R", [("R", "m:r")]),
        ("services in Go or Python", [("Go", "m:go"), ("Python", "m:python")]),
        ("advanced Excel", [("Excel", "m:excel")]),
        ("SAP and Excel", [("SAP", "m:sap"), ("Excel", "m:excel")]),
        ("maintain power (equipment)", []),
        ("statistics (Power BI)", [("Power BI", "m:powerbi")]),
        ("teams of twelve", []),
    ],
)
def test_names_that_stand_there(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "work",
        "We go the extra mile.",
        "Go to our website.",
        "You excel at service.",
        "Excel in your career!",
        "the sap of maple trees",
        "vitamin C, and plenty of it",
        "our R&D team",
        "the C-suite",
        "a Pythonic style",
        "javanese",
        "",
        "\n\t ",
        "•••",
    ],
)
def test_names_that_only_seem_to_stand_there(text):
    assert found(text) == []


def test_label_of_one_concept_is_not_taken_for_a_by_name_of_another():
    assert found("SQL") == [("SQL", "m:sql")]


def test_fit_is_lower_for_alternative_names():
    (label,) = MATCHER.find("manage budgets")
    (alternative,) = MATCHER.find("budget management")
    assert label.concepts[0][1] == 1.0
    assert alternative.concepts[0][1] < 1.0


def test_longest_name_wins():
    assert found("Microsoft Excel 365") == [("Microsoft Excel", "m:excel")]


def test_label_without_its_qualifier_is_a_name():
    assert surface_forms(CONCEPTS[0]) == ("Python (computer programming)", "Python")


def test_survives_the_disk(tmp_path):
    MATCHER.to_disk(tmp_path / "names.arrow")
    again = MentionMatcher.from_disk(tmp_path / "names.arrow")
    assert again == MATCHER
    assert again.find("Python") == MATCHER.find("Python")


def test_damaged_file_is_refused(tmp_path):
    (tmp_path / "names.arrow").write_bytes(b"not arrow")
    with pytest.raises(ArtefactError, match="damaged"):
        MentionMatcher.from_disk(tmp_path / "names.arrow")


def matcher_of(*names, kind="tool", description=""):
    """A matcher for concepts of the given names, and how to read what it finds."""
    concepts = [
        Concept(f"x:{name}", name, kind, (), description=description if not number else "")
        for number, name in enumerate(names)
    ]
    built = MentionMatcher.build(concepts)

    def read(text):
        return [
            (text[m.start : m.end], concepts[position].label)
            for m in built.find(text)
            for position, _ in m.concepts
        ]

    return read


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("Power BI", "Reports in Power\nBI.", "Power\nBI"),
        ("Power BI", "Reports in Power\u00a0 BI.", "Power\u00a0 BI"),
        ("Power BI", "Reports in PowerBI.", "PowerBI"),
        ("machine learning", "knows machi\u00adne learning", "machi\u00adne learning"),
        ("Node.js", "Node JS", "Node JS"),
        ("Node.js", "NodeJS, please", "NodeJS"),
        ("PowerPoint", "with Power Point", "Power Point"),
        (".NET", "a dot net shop", "dot net"),
        (".NET", "a .Net shop", ".Net"),
        ("C++", "modern C ++ code", "C ++"),
        ("CI/CD", "build CI / CD lines", "CI / CD"),
        ("research and development", "in research & development", "research & development"),
        ("natural language processing", "natural-language processing (NLP)", None),
    ],
)
def test_ways_to_write_a_name(name, text, where):
    where = where or "natural-language processing"
    assert matcher_of(name)(text) == [(where, name)]


def test_compounds_joined_and_apart_where_the_taxonomy_shows_both():
    read = matcher_of("front end tests", "frontend", "back office", kind="skill")
    assert read("write frontend tests") == [("frontend tests", "front end tests")]
    assert read("the front end") == [("front end", "frontend")]
    assert read("the backoffice") == []


@pytest.mark.parametrize(
    "text",
    [
        "We process data. Science is fun.",
        "We love data\n\nScience degree",
        "- big data\n- Science degree",
    ],
)
def test_no_name_goes_on_behind_the_end_of_a_sentence(text):
    assert matcher_of("data science", kind="skill")(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "project and stock management",
            [("project", "project management"), ("stock management", "stock management")],
        ),
        ("design and test software", [("design", "design software")]),
        (
            "manage budgets or teams",
            [("manage budgets", "manage budgets"), ("teams", "manage teams")],
        ),
        ("a project and our management", []),
        ("the project, and then management", []),
    ],
)
def test_coordination_leaves_words_out(text, expected):
    names = ("project management", "stock management", "design software", "manage budgets")
    assert matcher_of(*names, "manage teams", kind="skill")(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You format reports in Word and file them.", [("Word", "Microsoft Word")]),
        ("Word, Oracle", [("Word", "Microsoft Word"), ("Oracle", "Oracle")]),
        ("Most clients come by word of mouth.", []),
        ("A CV as a Word document.", []),
    ],
)
def test_product_without_its_maker(text, expected):
    assert matcher_of("Microsoft Word", "Oracle")(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("experience with Salesforce", ["Salesforce"]),
        ("Salesforce Inc is hiring.", []),
        ("know sql well", ["sql"]),
        ("see example.sql there", []),
        ("Jenkins & Sons needs an apprentice.", []),
        ("Apply to Mr Jenkins.", []),
        ("nightly builds in Jenkins", ["Jenkins"]),
        ("offices in Java, Indonesia", []),
        ("services in Java 17", ["Java"]),
    ],
)
def test_companies_persons_and_places(text, expected):
    read = matcher_of("Salesforce", "SQL", "Jenkins", "Java")
    assert [words for words, _ in read(text)] == expected


@pytest.mark.parametrize(
    ("text", "concepts", "refused"),
    [
        ("services in Java 17", 1, 0),
        ("offices in Java, Indonesia", 0, 1),
        ("Python, java", 1, 0),
    ],
)
def test_refused_readings_are_told(text, concepts, refused):
    built = MentionMatcher.build([Concept("x:java", "Java", "knowledge", ())])
    (mention,) = built.read(text)
    assert (len(mention.concepts), len(mention.refused)) == (concepts, refused)


@pytest.mark.parametrize(
    ("text", "is_language"),
    [
        ("Fluent Italian.", True),
        ("You speak Italian with our guests", True),
        ("Italian", True),
        ("Languages: Italian, State law", True),
        ("English and Italian (B2) required", True),
        ("Italian. Restaurant experience", True),
        ("fluent Italian and business French", True),
        ("an Italian customer support agent", True),
        ("Italian and market knowledge", True),
        ("You cook for an Italian restaurant.", False),
        ("a Chinese or Italian restaurant", False),
        ("French, Italian and Spanish wines", False),
        ("Italian/French wines", False),
        ("Italian, or French, cuisine", True),
        ("Knowledge of Italian law", False),
        ("Fluent Italian\nRestaurant manager", True),
        ("Skills\r\nItalian\r\nLaw", True),
        ("Italian\tLaw", True),
        ("an Italian\u00a0restaurant", False),
        ("Translate Italian laws", True),
        ("Italian Market Specialist", True),
    ],
)
def test_languages_are_told_from_origins(text, is_language):
    matcher = matcher_of("Italian", kind="knowledge")
    assert matcher(text) == ([("Italian", "Italian")] if is_language else [])


def test_a_name_of_which_the_context_says_nothing_is_refused():
    built = MentionMatcher.build([Concept("x:excel", "Excel", "tool", ())])
    (mention,) = built.read("Excel daily, please.")
    assert (mention.concepts, mention.refused) == ((), (0,))
    assert built.find("Excel daily, please.") == []


def test_words_that_the_descriptions_write_small_are_of_every_day():
    read = matcher_of("Quibble", "Kubernetes", description="To quibble is to argue.")
    assert read("you never quibble") == []
    assert read("Quibble over prices") == []
    assert read("we deploy with quibble, Kubernetes") == [
        ("quibble", "Quibble"),
        ("Kubernetes", "Kubernetes"),
    ]


HOMONYMS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "homonyms.jsonl").read_text().splitlines()
]


SHORT_NAMES = {
    "Adobe Photoshop": "Photoshop",
    "Apache Kafka": "Kafka",
    "Autodesk Maya": "Maya",
    "Microsoft Access": "Access",
    "Microsoft Excel": "Excel",
    "Microsoft Outlook": "Outlook",
    "Microsoft Visio": "Visio",
    "Oracle software": "Oracle",
    "SAP ERP": "SAP",
    "Unreal Engine": "Unreal",
}


def test_homonyms_are_labelled_both_ways():
    assert len(HOMONYMS) >= 180
    assert len({row["id"] for row in HOMONYMS}) == len({row["text"] for row in HOMONYMS})
    assert 0.3 < sum(bool(row["must"]) for row in HOMONYMS) / len(HOMONYMS) < 0.7


# The rules were tuned on "dev" and never on "held", so the bars differ.
@pytest.mark.parametrize(
    ("part", "recall", "violations"), [("dev", 0.85, 0.05), ("held", 0.8, 0.15)]
)
def test_homonyms_by_context(part, recall, violations):
    """All concepts of the sentences in one matcher; `python -m eval must` has the whole engine."""
    references = {
        reference["uri"]: reference["label"]
        for row in HOMONYMS
        for reference in (*row["must"], *row["must_not"])
    }
    concepts = [
        Concept(uri, label, "tool", tuple(filter(None, [SHORT_NAMES.get(label)])))
        for uri, label in references.items()
    ]
    built = MentionMatcher.build(concepts)
    found, wrong = [], []
    for row in HOMONYMS:
        if row["part"] == part:
            ids = {concepts[c].id for m in built.find(row["text"]) for c, _ in m.concepts}
            found += [reference["uri"] in ids for reference in row["must"]]
            wrong += [reference["uri"] in ids for reference in row["must_not"]]
    assert sum(found) / len(found) >= recall
    assert sum(wrong) / len(wrong) <= violations


@pytest.mark.parametrize("text", ["x", "-", " ", "&", "Go ", "and ", "C+", "Java, ", "Power\n"])
def test_time_is_linear(text):
    def seconds(count):
        started = time.process_time()
        MATCHER.find(text * count)
        return time.process_time() - started

    seconds(10)
    long = min(seconds(20_000) for _ in range(3))
    assert long < 40 * max(seconds(2_000), 0.002)


PIECES = st.sampled_from(
    [
        "Python",
        "Go",
        "R",
        "C++",
        "manage budgets",
        " and ",
        "&",
        " ",
        ",",
        "\n",
        "\u00ad",
        "é",
        "😀",
    ]
)


@given(st.lists(PIECES | st.text(string.printable, max_size=5), max_size=30).map("".join))
def test_mentions_are_ordered_and_lie_in_the_text(text):
    end = 0
    for mention in MATCHER.find(text):
        assert end <= mention.start < mention.end <= len(text)
        assert text[mention.start : mention.end].strip() == text[mention.start : mention.end]
        end = mention.end


@pytest.mark.parametrize("text", ["R", " R\n", "Excel"])
def test_a_name_that_is_the_whole_text_is_meant(text):
    built = MentionMatcher.build(
        [Concept("x:r", "R", "knowledge", ()), Concept("x:excel", "Excel", "tool", ())]
    )
    assert [text[m.start : m.end] for m in built.find(text)] == [text.strip()]
