"""Several processes: the same rows, whatever happens to one of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_extractor import FakeExtractor

from extractor.batch import run_batch
from extractor.errors import JobshiftError
from extractor.files import read_results
from extractor.workers import Workers

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are forked")


class Fragile(FakeExtractor):
    """Dies, hangs or raises as the text says."""

    def extract(self, text, *, title=None, id="ad"):  # noqa: A002
        if "die" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if "leave" in text:
            os._exit(3)
        if "hang" in text:
            time.sleep(600)
        return super().extract(text, title=title, id=id)


def write(path, texts):
    rows = ({"id": f"ad-{n}", "text": text} for n, text in enumerate(texts, start=1))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
def test_many_workers_write_what_one_writes(tmp_path, suffix):
    ads = write(tmp_path / "ads.jsonl", [f"Python {n}" if n % 7 else " " for n in range(200)])
    contents = []
    for workers, batch_size in ((1, 32), (2, 1), (3, 7)):
        target = tmp_path / f"out-{workers}{suffix}"
        summary = run_batch(
            FakeExtractor(), ads, target, workers=workers, batch_size=batch_size, part_rows=30
        )
        assert (summary.rows, summary.errors, summary.skills) == (200, 29, 171)
        assert summary.peak_memory_mb > 1
        if suffix == ".parquet":
            contents.append([result.model_dump() for result in read_results(target)])
        else:
            contents.append(target.read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_worker_that_dies_costs_its_row_alone(tmp_path):
    texts = [f"Python {n}" for n in range(60)]
    texts[5], texts[17], texts[18] = "die", "leave", "die"
    ads = write(tmp_path / "ads.jsonl", texts)

    summary = run_batch(
        Fragile(), ads, tmp_path / "out.jsonl", workers=2, batch_size=8, errors=tmp_path / "e.jsonl"
    )

    results = list(read_results(tmp_path / "out.jsonl"))
    assert [result.id for result in results] == [f"ad-{n}" for n in range(1, 61)]
    assert [result.row for result in results] == list(range(1, 61))
    wrong = list(read_results(tmp_path / "e.jsonl"))
    assert [result.row for result in wrong] == [6, 18, 19]
    assert "ad 'ad-6': the process that read it ended (signal 9)" in wrong[0].error
    assert "exit status 3" in wrong[1].error
    assert (summary.errors, summary.skills) == (3, 57)


def test_ad_that_hangs_is_given_up(tmp_path):
    ads = write(tmp_path / "ads.jsonl", ["Python", "hang", "Python", "Python"])
    start = time.monotonic()
    run_batch(Fragile(), ads, tmp_path / "out.jsonl", workers=2, batch_size=2, seconds_per_ad=0.5)
    assert time.monotonic() - start < 20
    results = list(read_results(tmp_path / "out.jsonl"))
    assert [bool(result.error) for result in results] == [False, True, False, False]
    assert "more than 0.5 s" in results[1].error


def test_error_of_the_engine_reaches_the_caller_and_the_rest_is_kept(tmp_path):
    ads = write(tmp_path / "ads.jsonl", [f"Python {n}" for n in range(40)])

    class Buggy(FakeExtractor):
        def extract_batch(self, postings, *, batch_size=32):
            postings = list(postings)
            if any(posting.id == "ad-25" for posting in postings):
                raise LookupError("a bug")
            return super().extract_batch(postings)

    target = tmp_path / "out.jsonl"
    with pytest.raises(LookupError, match="a bug"):
        run_batch(Buggy(), ads, target, workers=2, batch_size=4, part_rows=8)
    summary = run_batch(FakeExtractor(), ads, target, workers=2, resume=True)
    assert summary.resumed_rows == 24  # all parts of what stands before the batch that failed
    assert [result.row for result in read_results(target)] == list(range(1, 41))


RUN = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from fake_extractor import FakeExtractor
from extractor.batch import run_batch
from extractor.errors import JobshiftError
try:
    run_batch(FakeExtractor(seconds=0.01), {source!r}, {target!r}, part_rows=20, batch_size=5,
              workers=2, resume=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_run_leaves_no_worker_and_goes_on(tmp_path, how):
    ads = write(tmp_path / "ads.jsonl", [f"Python {n}" for n in range(400)])
    target = tmp_path / "out.jsonl"
    script = RUN.format(tests=str(TESTS), root=str(ROOT), source=str(ads), target=str(target))
    folder = tmp_path / "out.jsonl.parts"
    for parts in (2, 5):
        process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
        deadline = time.monotonic() + 60
        while len(list(folder.glob("part-*.json"))) < parts:
            assert process.poll() is None, "it ended before it could be stopped"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        workers = children(process.pid)
        assert len(workers) == 2
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does
            assert process.wait(timeout=30) == 130
        else:
            process.kill()
            process.wait()
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not target.exists()

    summary = run_batch(FakeExtractor(), ads, target, workers=2, resume=True)

    assert summary.resumed_rows >= 100
    assert [result.id for result in read_results(target)] == [f"ad-{n}" for n in range(1, 401)]
    assert {path.name for path in tmp_path.iterdir()} == {"ads.jsonl", "out.jsonl"}


def test_idle_worker_that_was_killed_is_replaced():
    pool = Workers(sum, lambda item, reason: reason, count=2, seconds=10)
    results = []
    for number, result in enumerate(pool.map([n] for n in range(40))):
        results.append(result)
        if number == 10:
            os.kill(pool.pids[0], signal.SIGKILL)
    assert len(results) == 40
    # The one row that it may have been working on is reported.
    assert [n for n, result in enumerate(results) if result != n] in [
        [n] for n in range(10, 20)
    ] + [[]]


def test_workers_elsewhere_are_refused(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(JobshiftError, match=r"needs Linux.*--engine ray"):
        Workers(sum, lambda item, reason: 0, count=2, seconds=1)


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"batch_size": 5000}, {"batch_size": 0}, {"part_rows": 0}]
)
def test_numbers_that_cannot_be(tmp_path, options):
    (name,) = options
    with pytest.raises(JobshiftError, match=f"{name} must lie between 1 and"):
        run_batch(FakeExtractor(), tmp_path / "ads.jsonl", tmp_path / "out.jsonl", **options)
