"""Readers of published formats, BEIR folders and labels of one's own, on files written here."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import taxonomies
from eval.beir import corpus_rows, read_rows_of, write_folder
from eval.datasets import DATASETS, bio_spans, convert
from eval.errors import EvaluationError
from eval.rows import ExtractionRow, LinkingRow, OccupationRow, SpansRow, read_rows


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        if not isinstance(content, str):
            lines = content if name.endswith("l") else [content]
            content = "\n".join(map(json.dumps, lines))
        path.write_text(content, encoding="utf-8")
        return path

    return write


@pytest.fixture
def as_rows(tmp_path, engine):
    """Converts files and reads the rows as a task does."""

    def read(name, model, *paths):
        path = tmp_path / "converted.jsonl"
        rows = convert(name, paths, engine.taxonomy)
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return read_rows([path], model)

    return read


def places(row):
    return [(span.label, row.text[span.start : span.end]) for span in row.spans]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O O O", []),
        ("B I O B", ["a bb", "dddd"]),
        ("B B O O", ["a", "bb"]),
        ("I I O I", ["a bb", "dddd"]),  # without a beginning
        ("B-X I-Y O O", ["a", "bb"]),
        ("B-X I-X I-X I-X", ["a bb ccc dddd"]),
    ],
)
def test_spans_of_tags(tags, expected):
    spans = bio_spans(["a", "bb", "ccc", "dddd"], tags.split(), "SKILL")
    assert [span["text"] for span in spans] == expected


@pytest.mark.parametrize("tags", ["O", "B X O O", "O O O U-SKILL"])
def test_tags_that_are_none(tags):
    with pytest.raises(ValueError, match="tag"):
        bio_spans(["a", "bb", "ccc", "dddd"], tags.split(), "SKILL")


def test_skillspan(write, as_rows):
    record = {
        "idx": 7,
        "tokens": ["Write", "clean", "Python", "."],
        "tags_skill": ["B", "I", "I", "O"],
        "tags_knowledge": ["O", "O", "B", "O"],
        "source": "tech",
    }
    other = record | {"tokens": ["Tea", "daily"], "tags_skill": ["O"] * 2}
    other["tags_knowledge"] = ["O"] * 2
    first, second = as_rows("skillspan", SpansRow, write("dev.jsonl", [record, other]))
    assert places(first) == [("SKILL", "Write clean Python"), ("KNOWLEDGE", "Python")]
    assert first.document == second.document
    assert first.named_sector == "tech"
    assert second.spans == []


def test_parquet_and_conll(write, as_rows, tmp_path):
    record = {"tokens": ["Be", "patient"], "tags_skill": ["O", "B"]}
    path = tmp_path / "dev.parquet"
    pq.write_table(pa.Table.from_pylist([record]), path)
    (row,) = as_rows("sayfullina", SpansRow, path)
    assert places(row) == [("SOFT_SKILL", "patient")]
    text = "Lay\tB-Skill\nbricks\tI-Skill\n.\tO\n\nLondon\tB-Domain\n"
    first, second = as_rows("green", SpansRow, write("train.conll", text))
    assert places(first) == [("SKILL", "Lay bricks")]
    assert places(second) == [("DOMAIN", "London")]


def test_sentences_with_labels(write, as_rows):
    lines = (
        "sentence,span,label\n"
        "We bake bread daily,bake bread,bake bread\n"
        "We bake bread daily,daily,LABEL NOT PRESENT\n"
        "Keep the books,Keep the books,bookkeeping rules\n"
        "Keep the books,,underwater welding\n"
        "We offer tea,,NO_LABEL\n"
    )
    path = write("house.csv", lines)
    first, second, third = as_rows("house", LinkingRow, path)
    assert [(link.uri, link.span) for link in first.links] == [
        ("s/bake", "bake bread"),
        (None, "daily"),
    ]
    assert first.text[first.links[0].start : first.links[0].end] == "bake bread"
    assert [link.uri for link in second.links] == ["k/accounting", None]  # an alternative name
    assert third.links == []
    (row,) = as_rows("house", ExtractionRow, write("one.csv", lines.split("Keep")[0]))
    assert len(row.links) == 2


def test_skillskape_with_lists(write, as_rows):
    content = {
        "0": {"sentence": "Bread and trees", "skills": ["bake bread", "prune trees"]},
        "1": {"sentence": "A nice office", "skills": []},
    }
    first, second = as_rows("skillskape", LinkingRow, write("dev.json", content))
    assert [link.uri for link in first.links] == ["s/bake", "s/prune"]
    assert second.links == []


def test_titles(write, as_rows):
    lines = "vacancy_job_title,esco_job_title,esco_URI\nBread maker (m/f),baker,o/baker\n"
    (row,) = as_rows("jobbert", OccupationRow, write("validation.csv", lines))
    assert (row.title, row.uris) == ("Bread maker (m/f)", {"o/baker"})


def test_melo(write, as_rows, report):
    queries = write("queries.jsonl", [{"text": "Bakers", "labels": [0, 2]}])
    names = [{"text": name} for name in ("bread maker", "accounting clerk", "gardener")]
    corpus = write("corpus.jsonl", names)
    (row,) = as_rows("melo", OccupationRow, queries, corpus)
    assert row.uris == {"o/baker", "o/gardener"}
    path = write("rows.jsonl", [row.model_dump()])
    assert report("occupations", path)["n"] == 1
    with pytest.raises(EvaluationError, match="two files"):
        as_rows("melo", OccupationRow, queries)
    broken = write("queries.jsonl", [{"text": "Bakers", "labels": [3]}])
    with pytest.raises(EvaluationError, match="no row of"):
        as_rows("melo", OccupationRow, broken, corpus)


@pytest.mark.parametrize(
    ("name", "file", "content", "words"),
    [
        ("skillspan", "a.jsonl", [{"text": "a"}], "record 1: expected `tokens`"),
        ("skillspan", "a.jsonl", [{"tokens": ["a"], "tags": []}], "1 tokens but 0 tags"),
        ("green", "a.conll", "Lay\n", "line 1: expected a token and its tag"),
        ("green", "a.conll", "\n", "no rows of green"),
        ("house", "a.jsonl", [{"text": "a"}], "expected `sentence` and `label`; it has text"),
        ("house", "a.jsonl", "{", "not in the format of its suffix"),
        ("house", "a.xlsx", "", "expected .jsonl"),
        ("jobbert", "a.csv", "title\nbaker\n", "`vacancy_job_title` and `esco_URI`"),
        ("homonyms", "a.jsonl", [{}], "its files are rows already"),
        ("poetry", "a.jsonl", [{}], "unknown set 'poetry'"),
    ],
)
def test_files_in_another_format(write, engine, name, file, content, words):
    with pytest.raises(EvaluationError) as caught:
        convert(name, [write(file, content)], engine.taxonomy)
    assert words in str(caught.value)


def test_labels_need_a_taxonomy(write):
    with pytest.raises(EvaluationError, match="--taxonomy"):
        convert("house", [write("a.csv", "sentence,label\na,b\n")], None)


# BEIR.


def test_beir_there_and_back(tmp_path, rows_file, engine, report):
    path = rows_file(
        {"text": "bake it", "links": [{"uri": "s/bake"}, {"uri": "s/bake"}, {"uri": None}]},
        {"text": "nothing", "links": [{"uri": "gone"}]},
        {"text": "prune and Python", "links": [{"uri": "s/prune"}, {"uri": "k/python"}]},
    )
    folder = tmp_path / "beir"
    assert write_folder(folder, read_rows([path], LinkingRow), engine.taxonomy) == 2
    assert (folder / "qrels" / "test.tsv").read_text().splitlines()[:2] == [
        "query-id\tcorpus-id\tscore",
        "q1\ts/bake\t1",
    ]
    assert len(corpus_rows(folder)) == 5  # occupations are no skills
    rows = list(read_rows_of(folder))
    assert [{link["uri"] for link in row["links"]} for row in rows] == [
        {"s/bake"},
        {"k/python", "s/prune"},
    ]
    assert report("linking", rows_file(*rows, name="back.jsonl"))["n"] == 2


def test_a_beir_folder_as_others_write_it(tmp_path, write, invoke):
    (tmp_path / "qrels").mkdir()
    write(
        "corpus.jsonl", [{"_id": "d1", "text": "Excel"}, {"_id": "d2", "title": "Go", "text": "x"}]
    )
    write("queries.jsonl", [{"_id": "1", "text": "sheets"}, {"_id": "2", "text": "unjudged"}])
    write("qrels/dev.tsv", "query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t0\n")
    out, corpus = tmp_path / "rows.jsonl", tmp_path / "concepts.csv"
    result = invoke("convert", "beir", tmp_path, "--out", out, "--corpus", corpus)
    assert result.exit_code == 0, result.output
    (row,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert row["links"] == [{"uri": "d1", "label": "Excel"}]
    assert row["split"] == "dev"
    assert corpus.read_text().splitlines() == [
        "id,label,alt_labels,description",
        "d1,Excel,,",
        "d2,Go,,x",
    ]
    write("qrels/dev.tsv", "1\td9\t1\n")
    with pytest.raises(EvaluationError, match="'d9' is in neither"):
        list(read_rows_of(tmp_path))
    write("qrels/dev.tsv", "1 d1 1\n")
    with pytest.raises(EvaluationError, match="line 1: expected query-id"):
        list(read_rows_of(tmp_path))
    (tmp_path / "qrels" / "dev.tsv").unlink()
    with pytest.raises(EvaluationError, match="no qrels"):
        list(read_rows_of(tmp_path))


def test_beir_by_command(tmp_path, rows_file, invoke, engine, monkeypatch):
    monkeypatch.setattr(taxonomies, "load", lambda name: engine.taxonomy)
    path = rows_file({"text": "bake it", "links": [{"uri": "s/bake"}]})
    result = invoke("beir", path, "--out", tmp_path / "beir", "--split", "dev")
    assert "1 queries of 1 rows" in result.output
    assert (tmp_path / "beir" / "qrels" / "dev.tsv").exists()


def test_the_list_names_every_set(invoke):
    shown = invoke("list").stdout
    for name, dataset in DATASETS.items():
        assert f"{name}: {dataset.task}" in shown
        assert dataset.licence in shown
        assert (f"python -m eval convert {name} " in shown) == bool(dataset.read)


# Labels of one's own.


def test_label_studio(write, as_rows):
    text = "You bake bread. Python is nice."

    def region(name, start, end, label):
        value = {"start": start, "end": end, "text": text[start:end], "labels": [label]}
        return {
            "id": name,
            "type": "labels",
            "from_name": "label",
            "to_name": "text",
            "value": value,
        }

    concept = {
        "id": "b",
        "type": "textarea",
        "from_name": "uri",
        "to_name": "text",
        "value": {"start": 16, "end": 22, "text": ["http://x/python"]},
    }
    tasks = [
        {
            "id": 12,
            "data": {"text": text, "title": "Baker"},
            "annotations": [
                {"was_cancelled": False, "result": [region("z", 0, 3, "SKILL")]},
                {
                    "was_cancelled": False,
                    "result": [
                        region("a", 4, 14, "Skill"),
                        region("b", 16, 22, "Knowledge"),
                        concept,
                    ],
                },
                {"was_cancelled": True, "result": []},
            ],
        },
        {"id": 13, "data": {"text": "skipped"}, "annotations": []},
        {"id": 14, "data": {"text": "no skill"}, "annotations": [{"result": []}]},
    ]
    path = write("export.json", tasks)
    first, second = as_rows("label-studio", SpansRow, path)
    assert places(first) == [("SKILL", "bake bread"), ("KNOWLEDGE", "Python")]
    assert first.title == "Baker"
    assert second.spans == []
    linked, empty = as_rows("label-studio", ExtractionRow, path)
    assert [(link.uri, link.span) for link in linked.links] == [("http://x/python", "Python")]
    assert empty.links == []


def test_prodigy(write, as_rows):
    lines = [
        {
            "text": "bake bread",
            "spans": [{"start": 0, "end": 10, "label": "SKILL", "kb_id": "s/bake"}],
            "answer": "accept",
        },
        {"text": "no", "spans": [], "answer": "reject"},
        {"text": "Python", "spans": [{"start": 0, "end": 6, "label": "k:python"}]},
    ]
    path = write("labels.jsonl", lines)
    first, second = as_rows("prodigy", ExtractionRow, path)
    assert [link.uri for link in first.links] == ["s/bake"]
    assert [span.label for span in first.spans] == ["SKILL"]
    assert [link.uri for link in second.links] == ["k:python"]
    assert second.spans == []


def test_a_table(write, as_rows):
    lines = (
        "id,title,text,span,label,uri\n"
        '1,Baker,"bake bread, daily",bake bread,SKILL,s/bake\n'
        '1,Baker,"bake bread, daily",daily,,\n'
        "2,Clerk,we offer tea,,,\n"
        "3,Clerk,accounting,,,k/accounting\n"
    )
    first, second, third = as_rows("csv", ExtractionRow, write("labels.csv", lines))
    assert [(link.uri, link.start, link.end) for link in first.links] == [("s/bake", 0, 10)]
    assert (first.title, first.spans[0].text) == ("Baker", "bake bread")
    assert second.links == second.spans == []
    assert third.links[0].start is None


@pytest.mark.parametrize(
    ("name", "file", "content", "words"),
    [
        ("label-studio", "a.json", {"a": 1}, "expected the list of tasks"),
        ("label-studio", "a.json", [{"text": "JSON-MIN"}], "not as JSON-MIN"),
        ("prodigy", "a.jsonl", [{"html": ""}], "example 1: expected an object with `text`"),
        (
            "prodigy",
            "a.jsonl",
            [{"text": "ab", "spans": [{"start": 1, "end": 5, "label": "SKILL"}]}],
            "the span 1–5 lies outside the text of 2 characters",
        ),
        ("csv", "a.csv", "words,label\na,b\n", "a column `text`"),
        ("csv", "a.csv", "text\na\n", "a column `uri` or `label`"),
        ("csv", "a.csv", "text,span,uri\nab,zz,u\n", "line 2: the span 'zz' does not occur"),
        ("csv", "a.csv", "text,uri\n ,u\n", "has no text"),
    ],
)
def test_labels_in_another_format(write, name, file, content, words):
    with pytest.raises(EvaluationError) as caught:
        convert(name, [write(file, content)], None)
    assert words in str(caught.value)
