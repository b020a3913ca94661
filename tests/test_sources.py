"""Folders and compressed files of ads, limits of rows, and what others read of our output."""

import gzip
import json
import subprocess
import sys
import tracemalloc
from collections import deque
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_extractor import FakeExtractor

import extractor.files
from extractor.batch import run_batch
from extractor.errors import InputFileError, OutputFileError
from extractor.files import (
    ColumnNames,
    count_rows,
    input_files,
    numbered_rows,
    read_postings,
    read_results,
)
from extractor.records import JobPosting, JobResult

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent

ROWS = [{"id": f"ad-{n}", "text": f"Python {n}\nand more"} for n in range(100)]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows):
    lines = [f'{row["id"]},"{row["text"]}"\n' for row in rows]
    return ("id,text\n" + "".join(lines)).encode()


def zstd(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("lay_out", [jsonl, table])
@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstd)])
def test_compressed_files(tmp_path, lay_out, suffix, compress):
    path = tmp_path / f"ads.{lay_out.__name__.replace('table', 'csv')}{suffix}"
    content = lay_out(ROWS)
    # Two members, as `cat` of two files makes them.
    path.write_bytes(compress(content[:1000]) + compress(content[1000:]))
    assert [ad.id for ad in read_postings(path)] == [row["id"] for row in ROWS]
    assert count_rows(path) == 100

    path.write_bytes(compress(content)[:-20])
    with pytest.raises(InputFileError, match="cut off or damaged"):
        list(read_postings(path))
    path.write_bytes(b"no such thing at all")
    with pytest.raises(InputFileError, match="cut off or damaged"):
        list(read_postings(path))


@pytest.mark.parametrize("name", ["ads.parquet.gz", "ads.gz", "ads.json.zst", "ads.jsonl.bz2"])
def test_compressions_that_are_not_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputFileError, match=r"unknown suffix .*\.gz or \.zst behind it"):
        read_postings(tmp_path / name)


@pytest.fixture
def folder(tmp_path):
    """100 rows over four files of all formats, in the order of their names."""
    place = tmp_path / "ads"
    (place / "2024").mkdir(parents=True)
    (place / "2024" / "a.jsonl.gz").write_bytes(gzip.compress(jsonl(ROWS[:10])))
    (place / "b.csv").write_bytes(table(ROWS[10:30]))
    pq.write_table(pa.Table.from_pylist(ROWS[30:90]), place / "c.parquet", row_group_size=7)
    (place / "d.jsonl").write_bytes(jsonl(ROWS[90:]))
    for name in (".hidden.jsonl", "_temporary.csv", "README.txt", "2024/.crc"):
        (place / name).write_text("nothing to read")
    (place / "old.jsonl.parts").mkdir()
    (place / "old.jsonl.parts" / "part-000000.jsonl").write_text("nothing to read")
    return place


def test_folder_is_read_in_the_order_of_names(folder):
    assert [Path(file).name for file in input_files(folder)] == [
        "a.jsonl.gz",
        "b.csv",
        "c.parquet",
        "d.jsonl",
    ]
    assert [ad.id for ad in read_postings(folder)] == [row["id"] for row in ROWS]


@pytest.mark.parametrize("start", [0, 1, 9, 10, 29, 30, 36, 37, 44, 89, 90, 99, 100])
def test_rows_can_be_left_out(folder, start):
    rows = list(numbered_rows(input_files(folder), start=start, columns=ColumnNames(text="id")))
    assert [number for number, _ in rows] == list(range(start + 1, 101))
    assert [row for _, row in rows] == [{"id": row["id"]} for row in ROWS[start:]]


def test_folder_runs_like_a_file_and_resumes(tmp_path, folder):
    target = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        run_batch(
            FakeExtractor(fail_at=47, failure=KeyboardInterrupt()), folder, target, batch_size=1
        )
    run_batch(FakeExtractor(), folder, target, resume=True)
    assert [(r.row, r.id) for r in read_results(target)] == [
        (n, row["id"]) for n, row in enumerate(ROWS, start=1)
    ]
    with pytest.raises(OutputFileError, match="lies in the folder of the input"):
        run_batch(FakeExtractor(), folder, folder / "out.jsonl")
    (folder / "b.csv").write_text("number,words\n1,a\n")
    with pytest.raises(InputFileError, match=r"b\.csv has no column 'text'"):
        read_postings(folder)


def test_url_of_a_file_and_of_a_folder(folder):
    assert len(list(read_postings(f"file://{folder}"))) == 100
    assert len(list(read_postings(f"file://{folder}/2024/a.jsonl.gz"))) == 10
    with pytest.raises(InputFileError, match="does not exist"):
        read_postings(f"file://{folder}/none.jsonl")
    with pytest.raises(InputFileError, match="cannot be read"):
        read_postings("nowhere://ads.jsonl")


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".csv.zst"])
def test_row_without_end_is_an_error_and_takes_no_memory(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(extractor.files, "MAX_ROW_BYTES", 10_000)
    endless = b"x" * 30_000_000 + b"\n"
    first, last = (b'{"id": "a", "text": "b"}\n',) * 2 if "jsonl" in suffix else (b"a,b\n",) * 2
    content = first + endless + last
    if "csv" in suffix:
        content = b"id,text\n" + content
    path = tmp_path / f"ads{suffix}"
    compress = {".gz": gzip.compress, ".zst": zstd}.get(path.suffix, bytes)
    path.write_bytes(compress(content))

    tracemalloc.start()
    one, two, three = read_postings(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert one == three == JobPosting(id="a", text="b")
    assert isinstance(two, JobResult)
    assert "longer than the 10,000 bytes" in two.error
    assert peak < 8_000_000  # what is read at once, some times over


def test_quote_that_is_never_closed_ends_with_the_longest_row(tmp_path, monkeypatch):
    monkeypatch.setattr(extractor.files, "MAX_ROW_BYTES", 1_000)
    path = tmp_path / "ads.csv"
    path.write_text('id,text\n1,"never closed\n' + "2,b\n" * 1_000)
    rows = list(read_postings(path))
    assert "longer than the 1,000 bytes" in rows[0].error
    assert 700 < len(rows) < 1_000
    assert rows[-1] == JobPosting(id="2", text="b")


def test_long_titles_and_ids_are_errors(tmp_path):
    path = tmp_path / "ads.jsonl"
    rows = [{"id": "x" * 3000, "text": "a"}, {"title": "x" * 3000, "text": "a"}]
    path.write_bytes(jsonl(rows))
    for posting in read_postings(path):
        with pytest.raises(ValueError, match=r"has 3,000 characters, the limit is 2,000"):
            posting.check()


FULL_DISK = """
import resource, sys
sys.path[:0] = [{tests!r}, {root!r}]
from fake_extractor import FakeExtractor
from extractor.batch import run_batch
from extractor.errors import OutputFileError
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    run_batch(FakeExtractor(), {source!r}, {target!r}, part_rows=10, batch_size=5,
              workers={workers}, resume=True)
except OutputFileError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_full_disk_is_said_and_resumed(tmp_path, suffix, workers):
    """A limit on the size of a file stands for the disk: a part fits or not, the whole does not."""
    source, target = tmp_path / "ads.jsonl", tmp_path / f"out{suffix}"
    source.write_bytes(jsonl(ROWS))
    for limit in (4_000, 60_000):  # a part has some 20 kB, the whole at least 100 kB
        script = FULL_DISK.format(
            tests=str(TESTS),
            root=str(ROOT),
            source=str(source),
            target=str(target),
            limit=limit,
            workers=workers,
        )
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert run.returncode == 1, run.stderr
        assert "cannot be written" in run.stderr
        assert "Traceback" not in run.stderr
        assert not target.exists()
    summary = run_batch(FakeExtractor(), source, target, resume=True)
    assert summary.resumed_rows >= 10
    assert [result.id for result in read_results(target)] == [row["id"] for row in ROWS]


@pytest.fixture
def results(tmp_path):
    source = tmp_path / "ads.jsonl"
    source.write_bytes(jsonl([*ROWS, {"id": "bad"}]))
    run_batch(FakeExtractor(), source, tmp_path / "out.parquet")
    run_batch(FakeExtractor(), source, tmp_path / "out.csv")
    return tmp_path


def test_duckdb_reads_results(results):
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.sql(
        f"""
        SELECT r.id, skill.label, skill.matches[1].start, r.role.probabilities.augmented
        FROM (SELECT *, unnest(skills) AS skill FROM '{results}/out.parquet') AS r
        WHERE skill.requirement = 'required' AND skill.score > 0.5 ORDER BY r.row
        """
    ).fetchall()
    assert len(rows) == 100
    assert rows[3] == ("ad-3", "Python", 0, 0.625)
    counted = f"SELECT count(*), count(error) FROM '{results}/out.csv'"
    assert duckdb.sql(counted).fetchall() == [(101, 1)]


def test_polars_reads_results(results):
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(results / "out.parquet")
    skills = (
        frame.filter(polars.col("error").is_null())
        .explode("skills")
        .select("id", polars.col("skills").struct.field("label"))
    )
    assert skills.row(3) == ("ad-3", "Python")
    assert skills.height == 100
    assert polars.read_csv(results / "out.csv").height == 101


def test_memory_does_not_grow_with_the_file(tmp_path):
    """Ten times the rows take the same memory, from the first row to the last part."""
    peaks = []
    for rows in (1_000, 8_000):
        source = tmp_path / f"ads-{rows}.jsonl"
        source.write_bytes(jsonl({"id": str(n), "text": f"{n} " * 50} for n in range(rows)))
        extractor = FakeExtractor()
        extractor.seen = deque(maxlen=1)
        tracemalloc.start()
        run_batch(extractor, source, tmp_path / f"out-{rows}.jsonl", part_rows=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2 + 300_000
