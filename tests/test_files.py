import csv
import datetime
import json
import math
import re
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_extractor import FakeExtractor
from hypothesis import given, settings
from hypothesis import strategies as st

from extractor.errors import InputFileError, OutputFileError
from extractor.files import (
    CSV_COLUMNS,
    RESULT_SCHEMA,
    ColumnNames,
    ResultWriter,
    read_postings,
    read_results,
    write_results,
)
from extractor.records import (
    ROLE_CLASSES,
    Candidate,
    Evidence,
    JobPosting,
    JobResult,
    OccupationMatch,
    Provenance,
    RoleAssessment,
    Skill,
    SkillMatch,
    TaskMatch,
    TaskScores,
    Zone,
)

ROWS = [
    {"id": "a", "title": "Clerk", "text": "Type, file.\r\nAnswer the phone.", "pay": 12},
    {"id": "b", "title": None, "text": "Drive a “van”, café to café", "pay": 14},
]


def write_rows(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def read_bytes_as(tmp_path, name, content, **options):
    path = tmp_path / name
    path.write_bytes(content)
    return list(read_postings(path, **options))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_reads_rows_of_every_format(tmp_path, suffix):
    first, second = read_postings(write_rows(tmp_path / f"ads{suffix}", ROWS))

    pay = "12" if suffix == ".csv" else 12
    assert first == JobPosting(id="a", title="Clerk", text=ROWS[0]["text"], meta={"pay": pay})
    assert (second.id, second.title, second.text) == ("b", None, ROWS[1]["text"])


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_column_of_html(tmp_path, suffix):
    rows = [{"id": "a", "text": "plain & simple", "page": "<p>Cook &amp; bake", "title": "Cook"}]
    path = write_rows(tmp_path / f"ads{suffix}", rows)

    (posting,) = read_postings(path, columns=ColumnNames(html="page"))
    (plain,) = read_postings(path, columns=ColumnNames(text="page"))

    assert posting == JobPosting.from_html(
        "a", "<p>Cook &amp; bake", title="Cook", meta={"text": "plain & simple"}
    )
    assert posting.text == "Cook & bake"
    assert plain.text == "<p>Cook &amp; bake"  # nothing is taken for HTML by itself
    with pytest.raises(InputFileError, match=r"no column 'body' for the html.*--html-column"):
        read_postings(path, columns=ColumnNames(html="body"))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_columns_by_name(tmp_path, suffix):
    rows = [{"nr": 7, "body": "Cook soup", "job": "Cook", "when": "2020", "branch": "Food"}]
    columns = ColumnNames(id="nr", text="body", title="job", date="when", industry="branch")

    (posting,) = read_postings(write_rows(tmp_path / f"ads{suffix}", rows), columns=columns)

    assert posting == JobPosting(
        id="7", text="Cook soup", title="Cook", date="2020", industry="Food"
    )


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("columns", [ColumnNames(), ColumnNames(text="body", title="headline")])
def test_missing_column_is_named_with_those_found(tmp_path, suffix, columns):
    path = write_rows(tmp_path / f"ads{suffix}", [{"id": "1", "body": "Cook soup"}])

    with pytest.raises(InputFileError, match=r"no column '(text|headline)'.*'id', 'body'"):
        read_postings(path, columns=columns)


def test_csv_with_semicolons_is_explained(tmp_path):
    with pytest.raises(InputFileError, match="separated by commas"):
        read_bytes_as(tmp_path, "ads.csv", b"id;text\n1;cook\n")


def test_column_that_is_there_twice(tmp_path):
    with pytest.raises(InputFileError, match="more than one column 'text'"):
        read_bytes_as(tmp_path, "ads.csv", b"id,text,text\n1,a,b\n")


def test_rows_without_id_are_numbered(tmp_path):
    content = b'{"text": "a"}\n\n{"text": "b", "id": " "}\n{"text": "c", "id": NaN}\n'
    assert [ad.id for ad in read_bytes_as(tmp_path, "ads.jsonl", content)] == [
        "row-1",
        "row-2",
        "row-3",
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"[1, 2]", "must be an object, not list"),
        (b'"text"', "must be an object, not str"),
        (b"null", "not NoneType"),
        (b'{"id": "x", "text": ', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"id": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"\x00\x00\x00", "not valid JSON"),
        (b'{"id": "x", "text": "caf\xe9"}', "not UTF-8 .byte 0xE9"),
        (b'{"id": "x"}', "no text in 'text'"),
        (b'{"id": "x", "text": null}', "no text in 'text'"),
        (b'{"id": "x", "text": 5}', "must be a string, not int"),
        (b'{"id": "x", "text": ["a"]}', "must be a string, not list"),
        (b'{"id": "x", "text": "a \\ud800 b"}', "broken character .U\\+D800 at offset 2"),
        (b'{"id": "\\udfff", "text": "a"}', "'id' holds a broken character"),
        (b'{"id": {"a": 1}, "text": "a"}', "'id' must be a string, not dict"),
        (b'{"id": true, "text": "a"}', "'id' must be a string, not bool"),
        (b'{"id": "x", "text": "a", "title": ["b"]}', "'title' must be a string, not list"),
    ],
)
def test_bad_row_of_jsonl_is_an_error_in_its_place(tmp_path, line, why):
    good = b'{"id": "x", "text": "Cook soup"}\n'
    before, bad, after = read_bytes_as(tmp_path, "ads.jsonl", good + line + b"\n" + good)

    assert before == after == JobPosting(id="x", text="Cook soup")
    assert isinstance(bad, JobResult)
    assert bad.row == 2
    assert bad.id in ("x", "row-2")
    assert re.search(why, bad.error)


def test_file_of_bad_rows_only_is_still_one_to_one(tmp_path):
    rows = read_bytes_as(tmp_path, "ads.jsonl", b"[]\n{\n\xff\n")
    assert [(row.id, row.row, bool(row.error)) for row in rows] == [
        ("row-1", 1, True),
        ("row-2", 2, True),
        ("row-3", 3, True),
    ]


def test_hostile_but_valid_texts_reach_the_engine_as_they_are(tmp_path):
    texts = ["", "a\x00b", "x" * 1_000_000, "<p>a</p>", "\ufeff", "a\u2028b\x85c"]
    for suffix in (".jsonl", ".csv", ".parquet"):
        rows = [{"id": str(index), "text": text} for index, text in enumerate(texts)]
        postings = list(read_postings(write_rows(tmp_path / f"ads{suffix}", rows)))
        assert [posting.text for posting in postings] == texts


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_byte_order_mark_and_line_ends(tmp_path, newline):
    jsonl = b"\xef\xbb\xbf" + newline.join([b'{"id": "1", "text": "a"}', b'{"text": "b"}'])
    table = b"\xef\xbb\xbf" + newline.join([b"id,text", b"1,a", b",b", b""])
    for name, content in (("ads.jsonl", jsonl), ("ads.csv", table)):
        ads = read_bytes_as(tmp_path, name, content)
        assert ads == [JobPosting(id="1", text="a"), JobPosting(id="row-2", text="b")]


def test_line_breaks_in_a_cell_are_kept(tmp_path):
    (ad,) = read_bytes_as(tmp_path, "ads.csv", b'id,text\r\n1,"a\r\nb\n""c"""\r\n')
    assert ad.text == 'a\r\nb\n"c"'


def test_bad_rows_of_csv(tmp_path):
    content = b'id,text\n1,a\n2\n3,b,c\n4,caf\xe9\n\n5,"x"y\n6,d\n7,"never closed\n8,e\n'
    rows = read_bytes_as(tmp_path, "ads.csv", content)

    assert [row.id for row in rows] == ["1", "row-2", "row-3", "4", "row-5", "6", "row-7"]
    errors = [row.error if isinstance(row, JobResult) else None for row in rows]
    assert errors[0] is errors[5] is None
    assert "line 3 has 1 cells, the header has 2" in errors[1]
    assert "line 4 has 3 cells" in errors[2]
    assert "broken character" in errors[3]
    assert "line" in errors[4]
    # What an open quote swallows cannot be told apart; that it was swallowed is said.
    assert "lines 9 to 10 are not valid CSV" in errors[6]


def test_bad_rows_of_parquet(tmp_path):
    bytes_as_string = pa.array([b"ok", b"caf\xe9", b"fine"]).cast(pa.binary()).view(pa.string())
    path = tmp_path / "ads.parquet"
    pq.write_table(pa.table({"id": ["1", "2", "3"], "text": bytes_as_string}), path)

    first, second, third = read_postings(path)

    assert (first.text, third.text) == ("ok", "fine")
    assert second.row == 2
    assert "cannot be read" in second.error


def test_types_of_parquet(tmp_path):
    path = tmp_path / "ads.parquet"
    table = pa.table(
        {
            "id": pa.array([1, None]),
            "text": pa.array(["a", None]).dictionary_encode(),
            "title": pa.array(["t", "u"], pa.large_string()),
            "date": [datetime.date(2024, 2, 29), None],
            "industry": [math.nan, 3.5],
            "tags": [["x"], []],
        }
    )
    pq.write_table(table, path)

    first, second = read_postings(path)

    assert first == JobPosting(id="1", text="a", title="t", date="2024-02-29", meta={"tags": ["x"]})
    assert second == JobResult(id="row-2", row=2, error="the row has no text in 'text'")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("ads.jsonl", b"", "is empty"),
        ("ads.csv", b"", "is empty"),
        ("ads.parquet", b"", "is empty"),
        ("ads.jsonl", b"\n \n", "blank lines only"),
        ("ads.csv", b"\n\n", "no column 'text'"),
        ("ads.csv", b'"id,text\n1,a', "no header"),
        ("ads.csv", b"id,text\r1,a\r", "lone carriage return"),
        ("ads.csv", "id,text\n1,a".encode("utf-16"), "UTF-16"),
        ("ads.jsonl", '{"text": "a"}'.encode("utf-16"), "UTF-16"),
        ("ads.parquet", b"PAR1 nonsense PAR1", "cannot be read"),
        ("ads.txt", b"text", "unknown suffix '.txt'"),
        ("ads", b"text", "unknown suffix ''"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, why):
    with pytest.raises(InputFileError, match=why):
        read_bytes_as(tmp_path, name, content)


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(InputFileError, match="does not exist"):
        read_postings(tmp_path / "none.jsonl")
    with pytest.raises(InputFileError, match="holds no files of ads"):
        read_postings(tmp_path)
    with pytest.raises(InputFileError):
        read_postings("a\0b.jsonl")


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.999])
def test_truncated_parquet(tmp_path, kept):
    path = write_rows(tmp_path / "ads.parquet", ROWS * 50)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputFileError, match="cut off or damaged"):
        list(read_postings(path))


def test_parquet_damaged_further_on(tmp_path):
    path = write_rows(tmp_path / "ads.parquet", [{"text": f"ad {n}" * 50} for n in range(500)])
    content = bytearray(path.read_bytes())
    content[4:400] = b"\xff" * 396
    path.write_bytes(content)
    with pytest.raises(InputFileError, match="cannot be read"):
        list(read_postings(path))


def test_tables_without_rows(tmp_path):
    assert read_bytes_as(tmp_path, "ads.csv", b"id,text\n") == []
    path = tmp_path / "ads.parquet"
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    assert list(read_postings(path)) == []


words = st.text(st.characters(codec="utf-8"), max_size=20)
scores = st.floats(0, 1)
offsets = st.integers(0, 100_000)
classes = st.sampled_from(ROLE_CLASSES)
candidates = st.builds(Candidate, concept_id=words, label=words, kind=words, score=scores)
matches = st.builds(
    SkillMatch,
    start=offsets,
    end=offsets,
    text=words,
    concept_id=words,
    label=words,
    kind=words,
    score=scores,
    alternatives=st.lists(candidates, max_size=2).map(tuple),
)
results = st.builds(
    JobResult,
    id=words,
    row=st.none() | st.integers(1, 2**40),
    error=st.none() | words,
    skills=st.lists(
        st.builds(Skill, score=scores, matches=st.lists(matches, max_size=2).map(tuple)), max_size=2
    ).map(tuple),
    tasks=st.lists(
        st.builds(
            TaskMatch,
            text=words,
            start=offsets,
            end=offsets,
            scores=st.builds(TaskScores, automation=scores, augmentation=scores),
        ),
        max_size=2,
    ).map(tuple),
    occupations=st.lists(st.builds(OccupationMatch, label=words, score=scores), max_size=2).map(
        tuple
    ),
    role=st.none()
    | st.builds(
        RoleAssessment,
        label=st.none() | classes,
        probabilities=st.dictionaries(classes, scores),
        evidence=st.lists(
            st.builds(
                Evidence,
                text=words,
                weight=st.floats(-10, 10),
                start=st.none() | offsets,
                end=st.none() | offsets,
            ),
            max_size=2,
        ).map(tuple),
        notes=st.lists(words, max_size=2).map(tuple),
        abstained=st.none() | words,
    ),
    zones=st.lists(st.builds(Zone, start=offsets, end=offsets), max_size=2).map(tuple),
    provenance=st.none() | st.builds(Provenance, parts=st.dictionaries(words, words, max_size=2)),
)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@settings(max_examples=40, deadline=None)
@given(written=st.lists(results, max_size=3))
def test_results_round_trip(tmp_path_factory, suffix, written):
    path = tmp_path_factory.mktemp("results") / f"out{suffix}"
    write_results(path, written)
    assert list(read_results(path)) == written


@settings(max_examples=40, deadline=None)
@given(written=st.lists(results, max_size=3))
def test_csv_of_results_can_be_parsed_and_holds_no_formula(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("results") / "out.csv"
    write_results(path, written)

    rows = list(csv.reader(StringIO(path.read_bytes().decode(), newline="")))

    assert rows[0] == list(CSV_COLUMNS)
    assert len(rows) == len(written) + 1
    for row, result in zip(rows[1:], written, strict=True):
        cells = dict(zip(CSV_COLUMNS, row, strict=True))
        assert cells["id"].removeprefix("'") == result.id.removeprefix("'")
        assert len(json.loads(cells["skills"])) == len(result.skills)
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_csv_cells(tmp_path):
    result = FakeExtractor().extract("We need Python", id='=HYPERLINK("x")')
    write_results(tmp_path / "out.csv", [result, JobResult(id="b", row=2, error="no text")])

    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)

    assert first["id"] == '\'=HYPERLINK("x")'
    assert (first["role"], first["p_augmented"], first["occupation"]) == (
        "augmented",
        "0.625",
        "analyst",
    )
    assert json.loads(first["skills"])[0]["matches"][0]["start"] == 8
    assert (second["row"], second["error"], second["role"], second["skills"]) == (
        "2",
        "no text",
        "",
        "[]",
    )


def test_parquet_of_results_has_the_documented_schema(tmp_path):
    path = tmp_path / "out.parquet"
    write_results(path, (FakeExtractor().extract("Python", id=str(n)) for n in range(600)))

    table = pq.read_table(path)

    assert table.schema.equals(RESULT_SCHEMA, check_metadata=False)
    assert table.schema.metadata[b"jobshift.schema_version"] == b"3"
    assert table["id"].to_pylist() == [str(n) for n in range(600)]
    assert set(JobResult.model_fields) == set(RESULT_SCHEMA.names)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_nothing_is_left_of_an_interrupted_write(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_text("old")

    def interrupted():
        yield FakeExtractor().extract("Python")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_results(path, interrupted())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("out.xlsx", "unknown suffix '.xlsx'"),
        ("none/out.jsonl", "create the folder"),
        ("folder.csv", "is a folder"),
        ("x" * 300 + ".csv", "cannot be written"),
    ],
)
def test_places_that_cannot_be_written(tmp_path, name, why):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputFileError, match=why):
        write_results(tmp_path / name, [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(tmp_path):
    writer = ResultWriter(tmp_path / "out.jsonl").__enter__()
    writer._file.close()
    writer._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - closed by the writer
    with pytest.raises(OutputFileError, match="No space left") as caught:
        writer.write(FakeExtractor().extract("Python"))
    writer.__exit__(caught.type, caught.value, caught.tb)
    assert list(tmp_path.iterdir()) == []


def test_results_of_others_are_refused(tmp_path):
    ads = write_rows(tmp_path / "ads.parquet", ROWS)
    with pytest.raises(InputFileError, match="holds no jobshift results"):
        list(read_results(ads))
    ads = write_rows(tmp_path / "ads.jsonl", ROWS)
    with pytest.raises(InputFileError, match="line 1: no jobshift result"):
        list(read_results(ads))
    with pytest.raises(InputFileError, match="CSV holds only a part"):
        list(read_results(tmp_path / "out.csv"))
    newer = RESULT_SCHEMA.with_metadata({b"jobshift.schema_version": b"99"})
    pq.write_table(newer.empty_table(), tmp_path / "new.parquet")
    with pytest.raises(InputFileError, match=r"schema version 99.*upgrade"):
        list(read_results(tmp_path / "new.parquet"))
