import json

import pytest
from fake_extractor import FakeExtractor

from extractor.batch import run_batch
from extractor.duplicates import DuplicateFinder
from extractor.files import read_results
from extractor.records import Duplicate

AD = (
    "We are looking for a data analyst who cleans the data of our shops, writes SQL queries, "
    "builds dashboards for the sales team and explains in plain words what the numbers mean. "
    "You have two years of experience with Python, you like to work in a team of five, and can "
    "travel to our other office in {} once a month. "
)
OTHER = (
    "Drive a lorry between two depots at night, load and secure the cargo, keep the log book, and "
    "report damage to the vehicle to the fleet manager before the next shift begins. "
)


@pytest.fixture
def ads(tmp_path):
    long = AD * 3
    rows = [
        {"id": "a", "title": "Analyst", "text": long.format("Leeds", "Leeds", "Leeds")},
        {"id": "b", "title": "Driver", "text": OTHER},
        {"id": "c", "title": "Analyst", "text": long.format("Leeds", "Leeds", "Leeds")},
        {"id": "d", "title": "Analyst", "text": long.format("Leeds", "Leeds", "Hull")},
        {"id": "e", "title": "Analyst", "text": " "},
        {"id": "f", "title": "Analyst", "text": " "},
        {"text": OTHER, "title": "Cook"},
        {"id": "h", "title": "Driver", "text": OTHER},
    ]
    path = tmp_path / "ads.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


EXPECTED = {
    3: Duplicate(row=1, id="a", exact=True),
    4: Duplicate(row=1, id="a", exact=False),
    8: Duplicate(row=2, id="b", exact=True),
}


@pytest.mark.parametrize("workers", [1, 2])
def test_duplicates_are_marked_and_read_once(tmp_path, ads, workers):
    extractor = FakeExtractor()
    target = tmp_path / "out.parquet"
    summary = run_batch(extractor, ads, target, deduplicate=True, workers=workers)

    results = list(read_results(target))
    found = {result.row: result.duplicate_of for result in results if result.duplicate_of}
    # Row 7 has the text of row 2 under another title, which is evidence of its own.
    assert found == EXPECTED
    assert [result.id for result in results] == ["a", "b", "c", "d", "e", "f", "row-7", "h"]
    assert [result.row for result in results if result.error] == [5, 6]
    assert all(
        not result.skills and result.role is None for result in results if result.duplicate_of
    )
    assert (summary.duplicates, summary.errors, summary.rows) == (3, 2, 8)
    assert sum(summary.roles.values()) == 3


def test_resumed_run_finds_the_same_duplicates(tmp_path, ads):
    target = tmp_path / "out.jsonl"
    extractor = FakeExtractor(fail_at=3, failure=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_batch(extractor, ads, target, deduplicate=True, batch_size=1)
    with pytest.raises(ValueError, match="deduplication was rensa"):
        run_batch(FakeExtractor(), ads, target, resume=True)
    assert run_batch(FakeExtractor(), ads, target, deduplicate=True, resume=True).resumed_rows == 3
    found = {result.row: result.duplicate_of for result in read_results(target)}
    assert {row: where for row, where in found.items() if where} == EXPECTED


def test_memory_is_bounded_by_the_window():
    finder = DuplicateFinder(window=10)
    texts = [f"number {n} of the ads that differ in each word {n * n} {n + 7}" for n in range(35)]
    for row, text in enumerate(texts, start=1):
        assert finder.find(row, str(row), "", text) is None
    assert sum(len(window.rows) for window in finder._windows) <= 20
    assert finder.find(36, "x", "", texts[34]).row == 35
    assert finder.find(37, "x", "", texts[25]).row == 26
    assert finder.find(38, "x", "", texts[0]) is None  # forgotten


@pytest.mark.parametrize("text", ["", "\n", "word", "\ud800", "🙂" * 9, "a" * 100_000])
def test_any_text_can_be_compared(text):
    finder = DuplicateFinder()
    assert finder.find(1, "a", "", text) is None
    assert finder.find(2, "b", "", text) == Duplicate(row=1, id="a", exact=True)
