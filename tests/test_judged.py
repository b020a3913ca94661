"""The sentences of ads whose concepts we judged: where they stand, and what they mean."""

import json
from pathlib import Path

import pytest

import taxonomies
from training.judged import FILES, FOLDER, read_judged

SHARED = Path(__file__).parents[2] / "shared" / "data"
SKILL = "http://data.europa.eu/esco/skill/"


def test_no_text_is_kept_and_places_are_whole():
    for path in FOLDER.glob("*.tsv"):
        for line in path.read_text("utf-8").splitlines():
            row_id, start, end, meant, defensible = line.split("\t")
            assert " " not in row_id
            assert int(start) < int(end)
            for link in meant.split():
                concept, _, place = link.partition("@")
                assert len(concept) == 36
                if place:
                    first, last = map(int, place.split(":"))
                    assert 0 <= first < last <= int(end) - int(start)
            assert not {link.partition("@")[0] for link in meant.split()} & set(defensible.split())


@pytest.fixture
def data(tmp_path):
    """A folder of ads with one row each, and what was judged of them."""
    rows = {
        "skillspan": {"id": "s-1", "posting": "p-1", "text": "Plan budgets and know SQL"},
        "ads": {"id": "a-1", "text": "<p>We are nice. Sell shoes.</p>"},
    }
    for name, row in rows.items():
        path = tmp_path / FILES[name]
        path.parent.mkdir()
        path.write_text(json.dumps(row) + "\n", "utf-8")
    folder = tmp_path / "judged"
    folder.mkdir()
    (folder / "skillspan.tsv").write_text("s-1\t0\t25\tone@0:12 two\tthree four\n", "utf-8")
    (folder / "ads.tsv").write_text("a-1\t16\t27\t\t\n", "utf-8")
    return tmp_path


def test_text_comes_from_the_rows(data):
    asked, boilerplate = sorted(read_judged(data, data / "judged"), key=lambda row: row.ad)[::-1]
    assert asked.text == "Plan budgets and know SQL"
    assert asked.ad == "p-1"
    assert asked.meant == (SKILL + "one", SKILL + "two")
    assert asked.places == ((0, 12, SKILL + "one"),)
    assert asked.defensible == (SKILL + "three", SKILL + "four")
    assert boilerplate.text == "Sell shoes."
    assert boilerplate.meant == ()


def test_a_row_that_is_missing_is_named(data):
    with (data / "judged" / "ads.tsv").open("a") as file:
        file.write("a-2\t0\t4\t\t\n")
    with pytest.raises(ValueError, match=r"ads\.tsv, line 2: a-2 is not in ads/ads\.jsonl"):
        read_judged(data, data / "judged")


@pytest.mark.skipif(not SHARED.exists(), reason="needs the labelled sets")
def test_judged_sentences_are_those_of_the_ads():
    rows = read_judged(SHARED)
    assert len(rows) > 10_000
    assert all(row.text.strip() for row in rows)
    assert all(row.text[start:end].strip() for row in rows for start, end, _ in row.places)
    assert 0.1 < sum(row.held_out for row in rows) / len(rows) < 0.25
    tested = {
        json.loads(line)["text"]
        for name in ("house", "tech")
        for line in (SHARED / f"esco-linking/{name}_validation.jsonl").read_text().splitlines()
    }
    assert not tested & {row.text for row in rows}


@pytest.mark.model
@pytest.mark.skipif(not SHARED.exists(), reason="needs the labelled sets")
def test_nearly_every_concept_is_of_the_default_taxonomy():
    known = {concept.id for concept in taxonomies.load("default").concepts}
    meant = [concept for row in read_judged(SHARED) for concept in row.meant]
    assert sum(concept in known for concept in meant) / len(meant) > 0.98
