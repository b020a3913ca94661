"""A real Ray cluster of two workers on this machine, against the local engine row for row."""

import functools
import gzip
import json
import sys

import fake_extractor
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from compare import expect_same

from extractor import SkillExtractor
from extractor.batch import run_batch
from extractor.errors import JobshiftError, OutputFileError
from extractor.files import RESULT_SCHEMA, ColumnNames, read_results

ray = pytest.importorskip("ray")
cluster = pytest.importorskip("extractor.cluster")

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

DUTIES = ("manage budgets", "write Python code", "cook soup", "data quality assessment", "Hm")


@pytest.fixture(scope="module")
def ray_cluster(mini_cache):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(fake_extractor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBSHIFT_CACHE", str(mini_cache))
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(num_cpus=3, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()
    cloudpickle.unregister_pickle_by_value(fake_extractor)


def rows_of(start, stop):
    rows = [
        {
            "nr": f"ad-{n}",
            "text": f"Analyst {n}\n\nYour tasks:\n- {DUTIES[n % 5]}\n- Python is a must",
            "page": n,
        }
        for n in range(start, stop)
    ]
    return [row | {"text": " "} if row["page"] % 11 == 0 else row for row in rows]


@pytest.fixture
def ads(tmp_path):
    """A folder with every format, a Parquet file of several row groups, and rows that are bad."""
    folder = tmp_path / "ads"
    (folder / "more").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows_of(0, 40)), folder / "a.parquet", row_group_size=15)
    lines = "".join(json.dumps(row) + "\n" for row in rows_of(40, 60)).encode() + b"[1]\n{\n\n"
    (folder / "more" / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    (folder / "c.csv").write_text('nr,text\nx,Python\ny,"a\nb"\nz\n')
    (folder / "_SUCCESS").write_text("")
    return folder


def by_row(folder):
    results = [result for file in sorted(folder.glob("*.parquet")) for result in read_results(file)]
    return sorted(results, key=lambda result: result.row)


@pytest.mark.parametrize("engine", ["fake", "whole"])
def test_results_are_those_of_the_local_engine(tmp_path, ads, ray_cluster, mini_engine, engine):
    columns = ColumnNames(id="nr")
    load = (
        fake_extractor.FakeExtractor.load
        if engine == "fake"
        else functools.partial(SkillExtractor.load, "mini", encoder="hashing")
    )
    extractor = load() if engine == "fake" else mini_engine

    there = cluster.run_on_ray(
        ads,
        tmp_path / "there",
        columns=columns,
        workers=2,
        batch_size=7,
        errors=tmp_path / "errors.jsonl",
        load=load,
    )
    here = run_batch(extractor, ads, tmp_path / "here.parquet", columns=columns)

    results = by_row(tmp_path / "there")
    assert [result.row for result in results] == list(range(1, 66))
    expect_same(results, list(read_results(tmp_path / "here.parquet")))
    assert (there.rows, there.errors, there.skills, there.roles) == (
        here.rows,
        here.errors,
        here.skills,
        here.roles,
    )
    wrong = sorted(read_results(tmp_path / "errors.jsonl"), key=lambda result: result.row)
    assert wrong == [result for result in results if result.error]
    assert len(wrong) == there.errors > 5
    file = next((tmp_path / "there").glob("*.parquet"))
    schema = pq.read_table(file).schema
    assert schema.equals(RESULT_SCHEMA, check_metadata=False)
    assert schema.metadata[b"jobshift.schema_version"] == b"3"


def test_resume_reads_what_is_missing(tmp_path, ads, ray_cluster):
    options = {
        "columns": ColumnNames(id="nr"),
        "workers": 2,
        "load": fake_extractor.FakeExtractor.load,
    }
    target = tmp_path / "out"
    cluster.run_on_ray(ads, target, **options)
    whole = by_row(target)
    files = sorted(target.glob("*.parquet"))
    table = pa.concat_tables(pq.read_table(file) for file in files)
    for file in files:
        file.unlink()
    pq.write_table(table.filter([row % 3 != 0 for row in table["row"].to_pylist()]), files[0])
    (target / "cut.parquet").write_bytes(b"PAR1 not finished")

    with pytest.raises(OutputFileError, match="not empty"):
        cluster.run_on_ray(ads, target, **options)
    summary = cluster.run_on_ray(ads, target, resume=True, **options)

    assert (summary.rows, summary.resumed_rows) == (65, 44)
    assert by_row(target) == whole
    again = cluster.run_on_ray(ads, target, resume=True, **options)
    assert (again.rows, again.resumed_rows) == (65, 65)
    with pytest.raises(OutputFileError, match="columns was"):
        cluster.run_on_ray(ads, target, resume=True, **options | {"columns": ColumnNames()})
    (ads / "c.csv").unlink()
    with pytest.raises(OutputFileError, match="input sha256 was"):
        cluster.run_on_ray(ads, target, resume=True, **options)
    assert cluster.run_on_ray(ads, target, overwrite=True, **options).rows == 62


def test_targets_that_cannot_be(tmp_path, ads):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name, options, why in (
        ("full", {}, "not empty"),
        ("full", {"overwrite": True}, "not the output of a run"),
        ("file", {}, "is a file"),
        ("out.jsonl", {}, "writes a folder"),
        ("out", {"errors": tmp_path / "errors.csv"}, "end it in .jsonl"),
        ("out", {"resume": True, "overwrite": True}, "choose one"),
    ):
        with pytest.raises(OutputFileError, match=why):
            cluster.run_on_ray(ads, tmp_path / name, columns=ColumnNames(id="nr"), **options)
    assert (tmp_path / "full" / "letter.txt").exists()


def test_ray_that_is_not_installed(tmp_path, ads, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(JobshiftError, match=r"pip install 'jobshift\[ray\]'"):
        cluster.run_on_ray(ads, tmp_path / "out")
