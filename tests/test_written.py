"""The sentences of our own that the encoder learns from."""

import pytest

import taxonomies
from training.written import FOLDER, read_written


def test_every_line_marks_words_of_its_sentence():
    rows = read_written()
    assert len(rows) > 15_000
    assert len(set(rows)) == len(rows)
    for row in rows:
        part = row.text[row.start : row.end]
        assert part
        assert part == part.strip()
    held_out = sum(row.held_out for row in rows) / len(rows)
    assert 0.03 < held_out < 0.07


@pytest.mark.model
def test_every_concept_is_of_the_default_taxonomy():
    known = {concept.id for concept in taxonomies.load("default").concepts}
    unknown = {row.concept for row in read_written()} - known
    assert not unknown


@pytest.mark.parametrize(
    "line", ["no tab and no [part]", "id\tno part", "id\ttwo [parts] are [too many]", "id\t[]"]
)
def test_a_broken_line_is_named(tmp_path, line):
    good = next(FOLDER.glob("*.tsv")).read_text("utf-8").splitlines()[0]
    (tmp_path / "a.tsv").write_text(f"{good}\n{line}\n", "utf-8")
    with pytest.raises(ValueError, match=r"a\.tsv, line 2"):
        read_written(tmp_path)
