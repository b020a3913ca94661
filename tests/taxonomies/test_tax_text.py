import pytest

from taxonomies import Concept, Relation, TaxonomyFormatError
from taxonomies.build import build_taxonomy
from taxonomies.delimit import alone, split_joined, split_occupation, strip_known, tile
from taxonomies.text import base_name, clean_labels, clean_text


def concept(key="a", label="planning", **fields):
    return Concept(id=key, label=label, kind="skill", **fields)


def build(*concepts, relations=()):
    return build_taxonomy(concepts, relations, name="mini", version="1", language="en")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("\ufeffplan\u200bning ", "planning"),
        ("time\u00admanagement", "timemanagement"),
        ("risk\u00a0assessment\t\nplan", "risk assessment plan"),
        ("cafe\u0301", "café"),
        ("C", "C"),
        ("\u200b\u00a0", ""),
        ("C\u0000\u0007++ \u200e", "C++"),
    ],
)
def test_clean_text(raw, clean):
    assert clean_text(raw) == clean


def test_labels_lose_duplicates_and_blanks_but_keep_one_letter():
    labels = clean_labels("R", ["r", "C", "", "c", " GNU\u00a0R", "GNU R", "\u200b", "S"])
    assert labels == ("C", "GNU R", "S")


def test_build_cleans_and_derives_broader_relations():
    taxonomy = build(
        concept("a", " plan\u200bning ", parents=("b", "b", "scheme", "a")),
        concept("b", "thinking"),
        relations=[Relation("a", "b", "related")],
    )
    assert taxonomy["a"].label == "planning"
    assert taxonomy["a"].parents == ("b",)
    assert taxonomy.relations == (Relation("a", "b", "broader"), Relation("a", "b", "related"))


@pytest.mark.parametrize(
    ("concepts", "message"),
    [
        ([], "no concept"),
        ([concept(key="")], "has no id"),
        ([concept(label="\u200b ")], "label is empty"),
        ([concept(), concept(label="doing")], "given twice"),
        ([concept(label="bro\ud800ken")], "lone surrogate"),
        ([concept(alt_labels=("bro\udfffken",))], "lone surrogate"),
    ],
)
def test_build_refuses(concepts, message):
    with pytest.raises(TaxonomyFormatError, match=message):
        build(*concepts)


@pytest.mark.parametrize(
    ("joined", "run_together", "names"),
    [
        ("apply a rule, check plans, maps", "apply a rule check plans, maps", 2),
        ("keep order\ncheck plans, maps", "keep order check plans, maps", 2),
        ("keep order, keep peace", "keep order; keep peace", 2),
        ("one name only", "one name only", 1),
        ("keep order, keep peace", "something else", 2),
        ("keep a, b\nkeep c", "something else", 2),
        ("", "", 0),
    ],
)
def test_split_joined(joined, run_together, names):
    split = split_joined(joined, run_together)
    assert len(split) == names
    assert all(name in joined for name in split)


def test_split_joined_keeps_commas_that_both_texts_have():
    joined = "heavier than 5, 700 kg, fly a plane"
    assert split_joined(joined, "heavier than 5, 700 kg fly a plane") == [
        "heavier than 5, 700 kg",
        "fly a plane",
    ]


def test_tile_prefers_the_longest_cover_and_reports_gaps():
    names, gaps = tile(
        "Solar power energy from the sun STE solar Heat", ["solar power", "energy from the sun"]
    )
    assert names == ["Solar power", "energy from the sun"]
    assert gaps == ["STE solar Heat"]
    assert tile("a b c", ["a", "a b", "b c"]) == (["a", "b c"], [])
    assert tile("", ["a"]) == ([], [])


@pytest.mark.parametrize(
    ("gap", "run", "kept"),
    [
        ("waterski", "waterski", True),
        ("systems", "heat networks systems", False),
        ("SPME", "some technique SPME", True),
        ("competent in", "competent in Greek", False),
        ("clean energy green energy", "clean energy green energy", False),
        ("one two three four", "one two three four", False),
    ],
)
def test_alone(gap, run, kept):
    assert bool(alone(gap, run)) is kept


def test_strip_known_and_base_name():
    assert strip_known("net art web art The making of art.", ["net art", "web art"]) == (
        ["net art", "web art"],
        "The making of art.",
    )
    assert base_name("Boa (computer programming)") == "Boa"
    assert base_name("(only this)") == "(only this)"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("kite maker  Kite makers build kites.", "kite maker"),
        ("kite maker kite builder Kite makers build kites.", "kite maker"),
        ("head of harbours port chief Heads of harbours run ports.", "head of harbours"),
        ("kite teacher lower school tutor Kite teachers at lower schools teach.", None),
        ("usher/usheress door person Ushers/usheresses show seats.", "usher/usheress"),
        ("chief usher/chief usheress door lead Chief ushers work.", "chief usher/chief usheress"),
        ("ferryman boatman Ferrymen row.", "ferryman"),
        ("ICT tester ICT testers IT tester ICT testers try programs.", "ICT tester"),
        ("3D carver wood artist 3D carvers carve.", "3D carver"),
        ("kites, flags and tents seller flag seller Kites, flags and tents sellers sell.",
         "kites, flags and tents seller"),
    ],
)  # fmt: skip
def test_split_occupation(text, label):
    found = split_occupation(text)
    assert found is not None
    assert found[0] == (label or "kite teacher lower school")
    assert found[1][0].isupper() or found[1][0].isdigit()


def test_split_occupation_gives_up_where_nothing_repeats():
    assert split_occupation("kite maker kite builder. They build") is None
