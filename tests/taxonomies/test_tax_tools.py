from collections import Counter

import pytest

from taxonomies import Concept
from taxonomies.default import _data, read_supplement
from taxonomies.tools import everyday_words, forms, merge_tools, tool_id

EVERYDAY = everyday_words(
    ["Gain access to a project, process words in teams of people and control an inventory."]
)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Microsoft Power BI", {"Power BI"}),
        ("Atlassian JIRA", {"JIRA"}),
        ("Amazon Web Services AWS software", {"Amazon Web Services", "Web Services", "AWS"}),
        ("Structured query language SQL", {"Structured query language", "SQL"}),
        ("Tableau software", {"Tableau"}),
        ("Statistical process control SPC software", {"SPC"}),
        ("A programming language APL", {"APL"}),
        ("Inventory control software", set()),
        ("Microsoft Access", set()),
        ("Microsoft Project", set()),
        ("R", set()),
        ("C", set()),
    ],
)
def test_forms(name, made):
    found = forms(name, EVERYDAY)
    assert {*found.same, *found.short} == made


def test_everyday_words_are_those_in_small_letters():
    words = everyday_words(["Use Excel and the .net of e-mail."])
    assert {"and", "the", "of"} <= words
    assert not {"excel", "Excel", "net"} & words


def tool(name):
    return Concept(tool_id(name), name, "tool")


def merge(tools, supplement=()):
    esco = [
        Concept("e:sql", "SQL", "knowledge"),
        Concept("e:db", "database systems", "knowledge", ("SQL",)),
        Concept("e:boa", "Boa (computer programming)", "knowledge"),
        Concept("e:ios", "iOS", "knowledge"),
        Concept("e:maker", "Kite", "occupation"),
    ]
    return {concept.id: concept for concept in merge_tools(esco, tools, supplement, EVERYDAY)}


def test_a_tool_that_esco_has_adds_its_names_there():
    merged = merge([tool("Structured query language SQL"), tool("Boa")])
    assert set(merged) == {"e:sql", "e:db", "e:boa", "e:ios", "e:maker"}
    assert "Structured query language" in merged["e:sql"].alt_labels
    assert merged["e:db"].alt_labels == ("SQL",)
    assert "Boa" in merged["e:boa"].alt_labels


def test_the_shortest_names_must_agree_in_case_and_occupations_take_no_tools():
    merged = merge([tool("Cisco IOS"), tool("Kite")])
    assert merged["e:ios"].alt_labels == ()
    assert {"onet:tech/Cisco_IOS", "onet:tech/Kite"} <= set(merged)


def test_an_abbreviation_of_two_tools_belongs_to_neither():
    merged = merge([tool("Kite design system KDS"), tool("Kite data store KDS")])
    names = [name for concept in merged.values() for name in concept.names]
    assert "KDS" not in names
    assert "Kite design system" in names


def test_a_supplement_entry_takes_the_place_of_the_tools_it_names():
    entry = Concept("jobshift:kitecad", "KiteCAD", "tool", ("Microsoft KiteCAD", "KiteCAD Pro"))
    merged = merge([tool("Microsoft KiteCAD"), tool("KiteCAD Pro")], [entry])
    kitecad = merged["onet:tech/Microsoft_KiteCAD"]
    assert kitecad.label == "KiteCAD"
    assert "jobshift:kitecad" not in merged
    assert "onet:tech/KiteCAD_Pro" not in merged


def test_a_supplement_entry_adds_its_names_to_esco():
    entry = Concept("jobshift:sql", "SQL", "tool", ("SQL queries",))
    merged = merge([], [entry, Concept("jobshift:new", "Kiteflow", "tool")])
    assert "SQL queries" in merged["e:sql"].alt_labels
    assert merged["e:sql"].kind == "knowledge"
    assert merged["jobshift:new"].label == "Kiteflow"


def test_tool_ids_tell_signs_apart():
    assert len({tool_id(name) for name in ("C", "C++", "C#", "c", "C/C++", "C C")}) == 6


def test_the_shipped_supplement_is_sound():
    version, entries = read_supplement(_data("supplement.csv"))
    assert version.count(".") == 2
    assert len(entries) >= 250
    assert all(entry.id.startswith("jobshift:") and entry.description for entry in entries)
    assert {entry.kind for entry in entries} == {"tool", "knowledge"}
    assert len({entry.id for entry in entries}) == len(entries)
    names = Counter(name.casefold() for entry in entries for name in entry.names)
    assert [name for name, count in names.items() if count > 1] == []
    # Capitals that ads use for something else, or words of every text.
    assert not {"safe", "word", "access", "teams", "project", "make", "gtm"} & set(names)
