import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fake_extractor import PROVENANCE, FakeExtractor
from filelock import FileLock

from extractor.batch import run_batch
from extractor.errors import InputFileError, OutputFileError
from extractor.files import ColumnNames, read_results, write_results

ROOT = Path(__file__).resolve().parents[1]
TESTS = Path(__file__).resolve().parent


@pytest.fixture
def ads(tmp_path):
    """25 ads; the fourth is no object, the eighth has no text."""
    rows = [{"id": f"ad-{n}", "text": f"Python number {n}"} for n in range(1, 26)]
    rows[3], rows[7] = [1, 2], {"id": "ad-8", "text": " "}
    path = tmp_path / "ads.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def expect_all_rows(target, rows=25):
    results = list(read_results(target))
    assert [result.row for result in results] == list(range(1, rows + 1))
    assert [result.id for result in results] == [
        "row-4" if n == 4 else f"ad-{n}" for n in range(1, rows + 1)
    ]
    assert [result.row for result in results if result.error] == [4, 8]
    assert not target.with_name(f"{target.name}.parts").exists()
    return results


def content(path):
    """What a file of results says, however it was divided while it was written."""
    return pq.read_table(path).to_pylist() if path.suffix == ".parquet" else path.read_bytes()


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
@pytest.mark.parametrize("part_rows", [1, 7, 1000])
def test_one_result_a_row(tmp_path, ads, suffix, part_rows):
    target = tmp_path / f"out{suffix}"
    seen = []

    summary = run_batch(
        FakeExtractor(),
        ads,
        target,
        part_rows=part_rows,
        errors=tmp_path / "errors.jsonl",
        progress=lambda done, total: seen.append((done, total)),
    )

    assert (summary.rows, summary.errors, summary.skills) == (25, 2, 23)
    assert summary.skills_per_ad == 1.0
    assert summary.roles == {"augmented": 23}
    assert summary.ads_per_s > 0
    assert summary.peak_memory_mb > 1
    assert seen == sorted(set(seen))
    assert seen[-1] == (25, 25)
    if suffix != ".csv":
        expect_all_rows(target)
    whole = tmp_path / f"whole{suffix}"
    run_batch(FakeExtractor(), ads, whole)
    assert content(target) == content(whole)
    errors = list(read_results(tmp_path / "errors.jsonl"))
    assert [(error.id, error.row) for error in errors] == [("row-4", 4), ("ad-8", 8)]
    assert all(error.error for error in errors)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ValueError("a bug")])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
def test_stopped_run_goes_on_where_it_was(tmp_path, ads, suffix, failure):
    target = tmp_path / f"out{suffix}"
    extractor = FakeExtractor(fail_at=17, failure=failure)
    with pytest.raises(type(failure)):
        run_batch(extractor, ads, target, part_rows=5, batch_size=1)
    assert not target.exists()

    extractor = FakeExtractor()
    summary = run_batch(extractor, ads, target, part_rows=5, resume=True)

    # Also the part that was not yet full is kept.
    assert extractor.seen[0] == "ad-18"
    assert summary.resumed_rows == 17
    assert (summary.rows, summary.errors, summary.skills) == (25, 2, 23)
    whole = tmp_path / f"whole{suffix}"
    run_batch(FakeExtractor(), ads, whole)
    assert content(target) == content(whole)


KILLED_RUN = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from fake_extractor import FakeExtractor
from extractor.batch import run_batch
run_batch(FakeExtractor(seconds=0.05), {source!r}, {target!r}, part_rows=3, resume=True)
"""


def test_kill_in_the_middle_loses_and_doubles_nothing(tmp_path, ads):
    target = tmp_path / "out.parquet"
    script = KILLED_RUN.format(
        tests=str(TESTS), root=str(ROOT), source=str(ads), target=str(target)
    )
    folder = tmp_path / "out.parquet.parts"
    for parts in (1, 3):
        process = subprocess.Popen([sys.executable, "-c", script])
        deadline = time.monotonic() + 30
        while len(list(folder.glob("part-*.json"))) < parts:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not target.exists()

    extractor = FakeExtractor()
    summary = run_batch(extractor, ads, target, part_rows=3, resume=True)

    assert summary.resumed_rows >= 9
    assert len(extractor.seen) == 25 - summary.resumed_rows
    expect_all_rows(target)
    assert {path.name for path in tmp_path.iterdir()} == {"ads.jsonl", "out.parquet"}


def stop(ads, target, **options):
    extractor = FakeExtractor(fail_at=10, failure=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_batch(extractor, ads, target, batch_size=1, **options)


def test_resume_refuses_changed_input(tmp_path, ads):
    target = tmp_path / "out.jsonl"
    stop(ads, target)
    ads.write_text(ads.read_text() + '{"id": "new", "text": "one more"}\n')

    with pytest.raises(OutputFileError, match=r"input sha256 was .*--overwrite"):
        run_batch(FakeExtractor(), ads, target, resume=True)

    assert run_batch(FakeExtractor(), ads, target, overwrite=True).rows == 26


def test_resume_refuses_another_engine_or_other_columns(tmp_path, ads):
    target = tmp_path / "out.jsonl"
    stop(ads, target)

    other = PROVENANCE.model_copy(update={"taxonomy_version": "2"})
    with pytest.raises(OutputFileError, match="provenance taxonomy version was 1, is 2"):
        run_batch(FakeExtractor(provenance=other), ads, target, resume=True)
    with pytest.raises(OutputFileError, match="columns was"):
        run_batch(FakeExtractor(), ads, target, columns=ColumnNames(title="id"), resume=True)

    run_batch(FakeExtractor(), ads, target, resume=True)
    expect_all_rows(target)


def test_resume_refuses_damaged_parts(tmp_path, ads):
    target = tmp_path / "out.jsonl"
    stop(ads, target, part_rows=5)
    folder = tmp_path / "out.jsonl.parts"
    (folder / "part-000001.jsonl").unlink()
    with pytest.raises(OutputFileError, match=r"part-000001.jsonl is gone"):
        run_batch(FakeExtractor(), ads, target, resume=True)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(OutputFileError, match=r"manifest.json cannot be read.*--overwrite"):
        run_batch(FakeExtractor(), ads, target, resume=True)


def test_resume_of_nothing_starts_and_of_a_moved_input_goes_on(tmp_path, ads):
    target = tmp_path / "out.jsonl"
    stop(ads, target, resume=True)
    moved = ads.rename(tmp_path / "moved.jsonl")
    assert run_batch(FakeExtractor(), moved, target, resume=True).resumed_rows == 10
    expect_all_rows(target)


def test_resume_after_a_kill_between_joining_and_tidying_up(tmp_path, ads):
    target = tmp_path / "out.jsonl"
    stop(ads, target)
    write_results(target, [])
    run_batch(FakeExtractor(), ads, target, resume=True)
    expect_all_rows(target)


def test_existing_results_are_not_touched_unasked(tmp_path, ads):
    target = tmp_path / "out.jsonl"
    target.write_text("precious")
    for resume in (False, True):
        with pytest.raises(OutputFileError, match=r"exists.*--overwrite"):
            run_batch(FakeExtractor(), ads, target, resume=resume)
    assert target.read_text() == "precious"
    run_batch(FakeExtractor(), ads, target, overwrite=True)
    expect_all_rows(target)


def test_unfinished_run_is_not_touched_unasked(tmp_path, ads):
    target = tmp_path / "out.jsonl"
    stop(ads, target)
    with pytest.raises(OutputFileError, match=r"--resume.*--overwrite"):
        run_batch(FakeExtractor(), ads, target)
    with pytest.raises(OutputFileError, match="choose one"):
        run_batch(FakeExtractor(), ads, target, resume=True, overwrite=True)
    extractor = FakeExtractor()
    run_batch(extractor, ads, target, overwrite=True)
    assert len(extractor.seen) == 25


def test_two_runs_at_once(tmp_path, ads):
    target = tmp_path / "out.jsonl"
    stop(ads, target)
    with (
        FileLock(tmp_path / "out.jsonl.parts" / "lock"),
        pytest.raises(OutputFileError, match="another run"),
    ):
        run_batch(FakeExtractor(), ads, target, resume=True)


def test_targets_that_cannot_be(tmp_path, ads):
    def refuse(target, why, **options):
        with pytest.raises(OutputFileError, match=why):
            run_batch(FakeExtractor(), ads, target, **options)

    refuse(ads, "is the input", overwrite=True)
    refuse(tmp_path / "out.xlsx", "unknown suffix")
    refuse(tmp_path / "none" / "out.jsonl", "create the folder")
    refuse(tmp_path, "unknown suffix")
    refuse(tmp_path / "out.jsonl", "end it in .jsonl", errors=tmp_path / "errors.csv")
    same = tmp_path / "out.jsonl"
    refuse(same, "is to hold the results", errors=tmp_path / "." / "out.jsonl")
    refuse(tmp_path / ("x" * 250 + ".jsonl"), "cannot be written")
    assert list(tmp_path.iterdir()) == [ads]


def test_damaged_input_shows_before_the_work_starts(tmp_path):
    ads = tmp_path / "ads.csv"
    ads.write_text("id,body\n1,a\n")
    with pytest.raises(InputFileError, match="no column 'text'"):
        run_batch(FakeExtractor(), ads, tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == [ads]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
def test_input_without_rows(tmp_path, suffix):
    ads = tmp_path / "ads.csv"
    ads.write_text("id,text\n")
    target = tmp_path / f"out{suffix}"
    assert run_batch(FakeExtractor(), ads, target).rows == 0
    assert target.exists()
    if suffix != ".csv":
        assert list(read_results(target)) == []


def test_engine_that_loses_a_row_is_found_out(tmp_path, ads):
    class Loses(FakeExtractor):
        def extract_batch(self, postings, *, batch_size=32):
            results = super().extract_batch(postings)
            next(results)
            yield from results

    with pytest.raises(RuntimeError, match="24 results for 25 ads"):
        run_batch(Loses(), ads, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
