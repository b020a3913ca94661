"""Many ads: killed on the way, resumed, every row exactly once; and the same whatever the way.

`pytest -m slow tests/test_scale.py` runs the large one; `JOBSHIFT_SCALE_ROWS=200000` sets its size.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from compare import expect_same

from extractor.batch import run_batch
from extractor.files import read_postings, read_results

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SMALL = 2_000
LARGE = int(os.environ.get("JOBSHIFT_SCALE_ROWS", "50000"))

DUTIES = [
    "manage budgets of three regions",
    "write Python code for our reports",
    "assess the quality of data",
    "lead a small team",
    "drive a lorry by night",
    "answer calls of customers",
]


def write_ads(path, rows):
    """Ads that repeat each other with small changes, some of them broken."""
    choose = random.Random(7)
    with path.open("w") as file:
        for n in range(rows):
            if n % 997 == 5:
                file.write("{broken\n")
                continue
            duties = "\n".join(f"- {duty}" for duty in choose.sample(DUTIES, 3))
            text = f"Post {n % 50}\n\nYour tasks:\n{duties}\n\nRequirements:\n- Python {n}"
            file.write(json.dumps({"id": f"ad-{n}", "text": text}) + "\n")
    return path


RUN = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from fake_extractor import FakeExtractor
from extractor.batch import run_batch
summary = run_batch(FakeExtractor(), {source!r}, {target!r}, part_rows={part_rows}, workers=2,
                    resume=True)
print(summary.peak_memory_mb)
"""


@pytest.mark.parametrize("rows", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)])
def test_killed_twice_and_resumed(tmp_path, rows):
    source, target = write_ads(tmp_path / "ads.jsonl", rows), tmp_path / "out.parquet"
    part_rows = rows // 20
    script = RUN.format(
        tests=str(TESTS),
        root=str(ROOT),
        source=str(source),
        target=str(target),
        part_rows=part_rows,
    )
    folder = tmp_path / "out.parquet.parts"
    for parts in (3, 9):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 600
        while len(list(folder.glob("part-*.json"))) < parts:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert not target.exists()
    run = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=3600
    )
    assert float(run.stdout) < 1500

    table = pq.read_table(target, columns=["row", "id", "error"])
    assert table["row"].to_pylist() == list(range(1, rows + 1))
    broken = set(range(6, rows + 1, 997))
    ids = table["id"].to_pylist()
    assert all(
        name == (f"row-{n}" if n in broken else f"ad-{n - 1}")
        for n, name in enumerate(ids, start=1)
    )
    assert {n for n, error in enumerate(table["error"].to_pylist(), start=1) if error} == broken


def test_results_do_not_depend_on_the_way(tmp_path, mini_engine):
    """Batch size, workers, order and what was read before change no more than last digits."""
    source = write_ads(tmp_path / "ads.jsonl", 24)
    ways = {
        "one": {"batch_size": 1},
        "many": {"batch_size": 24},
        "two": {"workers": 2, "batch_size": 5},
    }
    found = {}
    for name, options in ways.items():
        run_batch(mini_engine, source, tmp_path / f"{name}.parquet", **options)
        found[name] = list(read_results(tmp_path / f"{name}.parquet"))
    expect_same(found["one"], found["many"])
    expect_same(found["one"], found["two"])
    postings = [posting for posting in read_postings(source) if getattr(posting, "text", None)]
    backwards = {r.id: r for r in mini_engine.extract_batch(postings[::-1], batch_size=7)}
    forwards = [r for r in found["one"] if not r.error]
    expect_same(
        [r.model_copy(update={"row": None}) for r in forwards], [backwards[r.id] for r in forwards]
    )
