"""Reading and checking labelled rows."""

import pytest

from eval.errors import RowError
from eval.rows import (
    ExtractionRow,
    LinkingRow,
    MustRow,
    OccupationRow,
    RequirementRow,
    RoleRow,
    SpansRow,
    find_span,
    read_rows,
    sample_rows,
)

BAD_ROWS = [
    (LinkingRow, "[1, 2]", "expected a JSON object"),
    (LinkingRow, "{", "no valid JSON"),
    (LinkingRow, {"text": "bake"}, "the field `links` is missing"),
    (LinkingRow, {"links": []}, "the field `text` is missing"),
    (LinkingRow, {"text": " \n", "links": []}, "`text` is blank"),
    (LinkingRow, {"text": 3, "links": []}, "`text`: input should be a valid string; it is '3'"),
    (LinkingRow, {"text": "a", "links": [{"label": "x"}]}, "`links.0.uri` is missing"),
    (LinkingRow, {"text": "a", "links": ["x"]}, "expected an object in links.0"),
    (LinkingRow, '{"text": "\\ud800", "links": []}', "no valid JSON"),
    (ExtractionRow, {"text": "a"}, "neither `links` nor `spans`"),
    (SpansRow, {"text": "abc", "spans": [{"start": 1, "end": 9, "label": "SKILL"}]}, "outside"),
    (
        SpansRow,
        {"text": "abc", "spans": [{"start": 0, "end": 2, "label": "SKILL", "text": "bc"}]},
        "is 'ab' in the text, but its own text is 'bc'",
    ),
    (OccupationRow, {"text": "baker"}, "the field `occupation` is missing"),
    (
        RequirementRow,
        {"text": "no maths", "mentions": [{"span": "yoga", "requirement": "required"}]},
        "'yoga' does not occur",
    ),
    (
        RequirementRow,
        {"text": "no maths", "mentions": [{"span": "maths", "requirement": "wanted"}]},
        "`mentions.0.requirement`: input should be 'required'",
    ),
    (MustRow, {"text": "a"}, "none of `must`, `must_not`, `must_be_empty`"),
    (RoleRow, {"text": "a", "label": "created"}, "the field `title` is missing"),
    (RoleRow, {"text": "a", "title": "b", "label": "doomed"}, "it is 'doomed'"),
]


@pytest.mark.parametrize(("model", "row", "reason"), BAD_ROWS)
def test_a_bad_row_is_named_by_file_and_number(rows_file, model, row, reason):
    good = {
        "text": "bake maths",
        "title": None,
        "links": [],
        "spans": [],
        "mentions": [],
        "must": [],
        "occupation": None,
        "label": None,
    }
    path = rows_file(good, "", row)
    with pytest.raises(RowError) as caught:
        read_rows([path], model)
    assert str(caught.value).startswith(f"{path}, row 3: ")
    assert reason in str(caught.value)


def test_missing_empty_and_unreadable_files(tmp_path, rows_file):
    with pytest.raises(RowError, match=r"none\.jsonl: cannot be read: No such file"):
        read_rows([tmp_path / "none.jsonl"], LinkingRow)
    with pytest.raises(RowError, match="cannot be read"):
        read_rows([tmp_path], LinkingRow)
    with pytest.raises(RowError, match="the file is empty"):
        read_rows([rows_file("", "  ")], LinkingRow)
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes('{"text": "Bäcker", "links": []}'.encode("latin-1"))
    with pytest.raises(RowError, match=r"row 1: no valid JSON: invalid unicode"):
        read_rows([latin], LinkingRow)


def test_byte_order_mark_crlf_and_unknown_fields_are_fine(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a", "links": [], "more": 1}\r\n\r\n')
    (row,) = read_rows([path], LinkingRow)
    assert (row.text, row.links, row.place) == ("a", [], f"{path}, row 1")


def test_rows_of_one_ad_or_pair_are_one_document(rows_file):
    path = rows_file(
        {"text": "a", "links": [], "posting": "p1"},
        {"text": "b", "links": [], "posting": "p1"},
        {"text": "c", "links": [], "pair": "q"},
        {"text": "d", "links": []},
    )
    documents = [row.document for row in read_rows([path], LinkingRow)]
    assert documents[0] == documents[1]
    assert len(set(documents)) == 3


@pytest.mark.parametrize(
    ("text", "span", "start"),
    [
        ("programming in R", "R", 15),
        ("Reports in R.", "R", 11),
        ("C++, C# and C", "C++", 0),
        ("unbaked, baked", "baked", 9),
        ("multitasking", "task", 5),
    ],
)
def test_spans_are_found_on_token_boundaries_first(text, span, start):
    assert find_span(text, span) == (start, start + len(span))


def test_nearest_defaults_to_the_label_where_that_is_a_main_class():
    def row(label, **more):
        return RoleRow(text="a", title="b", label=label, **more)

    assert row("created").gold_nearest == "created"
    assert row("unaffected").gold_nearest is None
    assert row("unaffected", nearest="threatened").gold_nearest == "threatened"


def test_a_sample_is_repeatable_and_keeps_order():
    rows = [RoleRow(text=str(number), title="t", label=None) for number in range(50)]
    first, second = sample_rows(rows, 10), sample_rows(rows, 10)
    assert first == second
    numbers = [int(row.text) for row in first]
    assert len(set(numbers)) == 10
    assert numbers == sorted(numbers)
    assert sample_rows(rows, None) == sample_rows(rows, 99) == rows
