"""What clumsy and hostile users do: everything ends with a clear message, and in time."""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc

import taxonomies
from extractor import ArtefactError, InvalidPostingError, JobPosting, SkillExtractor
from extractor.encoders import CachedEncoder, HashingEncoder
from extractor.index import build_index, load_index
from extractor.pipeline import LONGEST_STRETCH, make_doc
from extractor.records import BOILERPLATE_ZONES
from extractor.zones import find_zones, split_sentences
from taxonomies import TaxonomyError, TaxonomyFormatError, read_taxonomy

MINI = {"taxonomy": "mini", "encoder": "hashing"}


@pytest.fixture
def mini(mini_cache, tmp_path, monkeypatch):
    """A copy of the mini taxonomy that a test may spoil."""
    shutil.copytree(mini_cache / "mini", tmp_path / "mini")
    monkeypatch.setenv("JOBSHIFT_CACHE", str(tmp_path))
    return tmp_path / "mini"


@pytest.mark.parametrize(
    "text",
    [
        "," * 20_000,
        "_" * 20_000,
        "'s" * 10_000,
        "".join(f"- manage item{i} in Python\n" for i in range(1_000)),
    ],
    ids=lambda text: text[:12],
)
def test_odd_texts_take_seconds(mini_engine, text):
    start = time.perf_counter()
    assert mini_engine.extract(text).error is None
    # Ten times and more of what it takes; work that grows with the square takes minutes.
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize("text", ["a b" * 300, "," * 999, "x" * 200, " y" * 9 + "z-" * 301, "\n"])
def test_tokens_are_those_of_the_text(text):
    nlp = spacy.blank("en")
    doc = make_doc(nlp, text)
    assert doc.text == text
    if all(len(word) <= LONGEST_STRETCH for word in text.split()):
        assert [token.text for token in doc] == [token.text for token in nlp.make_doc(text)]


def test_linker_without_sentences_says_so(mini_engine, mini_cache, monkeypatch):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(mini_cache))
    nlp = spacy.blank("en")
    nlp.add_pipe("jobshift_mentions", config=MINI)
    nlp.add_pipe("jobshift_linker", config=MINI)
    with pytest.raises(ArtefactError, match="put jobshift_zones"):
        nlp("You must know Python.")


def test_linker_without_mentions_says_so(mini_engine, mini_cache, monkeypatch):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(mini_cache))
    nlp = spacy.blank("en")
    nlp.add_pipe("jobshift_zones")
    nlp.add_pipe("jobshift_linker", config=MINI)
    with pytest.raises(ArtefactError, match="needs jobshift_mentions before it"):
        nlp("You must know Python.")


def test_zones_behind_the_parser_say_so():
    nlp = spacy.blank("en")
    nlp.add_pipe("jobshift_zones")
    parsed = Doc(nlp.vocab, ["Know", "Python"], heads=[0, 0], deps=["ROOT", "dobj"])
    with pytest.raises(ArtefactError, match="first=True"):
        nlp(parsed)


@pytest.mark.parametrize("name", ["jobshift_occupations", "jobshift_requirement"])
def test_component_without_sentences_says_so(mini_engine, mini_cache, monkeypatch, name):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(mini_cache))
    nlp = spacy.blank("en")
    nlp.add_pipe(name, config=MINI if name == "jobshift_occupations" else {})
    with pytest.raises(ArtefactError, match="put jobshift_zones"):
        nlp("You must know Python.")


@pytest.mark.parametrize("text", ["", "Python \udcff", "x" * 100_001])
def test_link_and_requirements_refuse_what_extract_refuses(mini_engine, text):
    with pytest.raises(InvalidPostingError):
        mini_engine.link(text)
    with pytest.raises(InvalidPostingError):
        mini_engine.requirements(text, [(0, 1)])


@pytest.mark.parametrize("options", [{"title": 5}, {"title": float("nan")}, {"id": None}])
def test_title_and_id_are_strings(mini_engine, options):
    with pytest.raises(TypeError, match="title and id are strings"):
        mini_engine.extract("Python", **options)


def test_batch_size_of_nothing_is_refused(mini_engine):
    with pytest.raises(ValueError, match="at least 1"):
        list(mini_engine.extract_batch([JobPosting(id="1", text="Python")], batch_size=0))
    for single in ("Python", JobPosting(id="1", text="Python"), None):
        with pytest.raises(TypeError, match="for a single one call extract"):
            list(mini_engine.extract_batch(single))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((1, 3), dtype=np.float32), "shape"),
        (np.full((1, 4), 5, dtype=np.float32), "length 10"),
        (np.full((1, 4), np.nan, dtype=np.float32), "length nan"),
    ],
)
def test_encoder_that_breaks_its_promise_is_refused(vectors, message):
    class Broken:
        name = "broken"
        dimension = 4

        def encode(self, texts):
            return vectors

    with pytest.raises(ArtefactError, match=message):
        CachedEncoder(Broken()).encode(["a"])


@pytest.mark.parametrize("spoil", ["cut", "flip", "remove", "empty"])
def test_spoilt_index_is_refused_and_mended_by_the_command_it_names(mini, spoil):
    taxonomy, encoder = taxonomies.load("mini"), HashingEncoder()
    folder = build_index("mini", encoder=encoder)
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    assert {"forms.safetensors", "names.arrow"} < {path.name for path in files}
    for path in files:
        good = path.read_bytes()
        middle = len(good) // 2
        if spoil == "remove":
            path.unlink()
        else:
            flipped = good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :]
            path.write_bytes({"cut": good[:middle], "flip": flipped, "empty": b""}[spoil])
        with pytest.raises(ArtefactError, match="jobshift taxonomy install mini"):
            load_index(taxonomy, encoder)
        # As the command does: the taxonomy stays, its index is built again.
        taxonomies.install("mini")
        build_index("mini", encoder=encoder)
        assert load_index(taxonomy, encoder).skills.concepts
        assert path.read_bytes() == good


def test_index_of_a_killed_run_is_cleared_away(mini):
    stale = mini / ".index-hashing-256-99e2b794~gone"
    stale.mkdir()
    folder = build_index("mini", encoder=HashingEncoder())
    assert stale.name.startswith(f".{folder.name}~")
    shutil.rmtree(folder)
    build_index("mini", encoder=HashingEncoder())
    assert not stale.exists()


@pytest.mark.skipif(os.name != "posix", reason="needs a folder that cannot be written")
def test_cache_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "one.csv").write_text("id,label,alt_labels\n1,Python,\n")
    monkeypatch.setenv("JOBSHIFT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(TaxonomyError, match=r"cannot be written.*set JOBSHIFT_CACHE"):
        taxonomies.install("one", source=tmp_path / "one.csv")


def test_full_disk_while_an_index_is_written_says_so(mini, monkeypatch):
    import faiss

    def fail(*_):
        raise RuntimeError("write error")

    monkeypatch.setattr(faiss, "write_index", fail)
    shutil.rmtree(build_index("mini", encoder=HashingEncoder()))
    with pytest.raises(ArtefactError, match=r"cannot be written.*set JOBSHIFT_CACHE"):
        build_index("mini", encoder=HashingEncoder())
    assert not list(mini.glob(".index*~*"))


def test_entities_that_blow_up_are_refused_at_once(tmp_path):
    pytest.importorskip("rdflib")
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    source = tmp_path / "bomb.rdf"
    source.write_text(
        f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a0 "lol">{entities}]>'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">&a9;</rdf:RDF>'
    )
    with pytest.raises(TaxonomyFormatError, match="entities by other entities"):
        read_taxonomy(source)


def test_number_too_long_for_python_is_a_format_error(tmp_path):
    source = tmp_path / "long.jsonl"
    source.write_text('{"id": ' + "9" * 5000 + ', "label": "x", "alt_labels": []}\n')
    with pytest.raises(TaxonomyFormatError, match="row 1 is not JSON"):
        read_taxonomy(source)


def test_odd_taxonomies_work(tmp_path, monkeypatch):
    """One concept, one letter, a label of 10,000 characters, marks only, parents in a circle."""
    monkeypatch.setenv("JOBSHIFT_CACHE", str(tmp_path / "cache"))
    rows = [
        [{"id": "1", "label": "C", "alt_labels": []}],
        [{"id": "1", "label": "word " * 2_000, "alt_labels": []}],
        [{"id": "1", "label": "+++", "alt_labels": ["☃"]}],
        [
            {"id": "1", "label": "weld", "alt_labels": [], "parents": ["2"]},
            {"id": "2", "label": "solder", "alt_labels": [], "parents": ["1"]},
        ],
    ]
    for number, concepts in enumerate(rows):
        name = f"odd-{number}"
        source = tmp_path / f"{name}.jsonl"
        source.write_text("\n".join(map(json.dumps, concepts)))
        taxonomies.install(name, source=source)
        build_index(name, encoder=HashingEncoder())
        index = load_index(taxonomies.load(name), HashingEncoder())
        assert len(index.skills.concepts) == len(concepts)
        assert index.occupations is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_standard_output_on_a_full_disk_gives_a_message():
    import subprocess
    import sys

    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from extractor.cli import main; main()", "taxonomy", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "We need Power&nbsp;BI experience.",
        "We need <b>Power</b> BI experience.",
        "We need <b>Power</b>&nbsp;<i>BI</i> experience.",
    ],
)
def test_markup_inside_a_name_does_not_break_it(mini_engine, text):
    result = mini_engine.extract(text)
    assert "Power BI" in {skill.label for skill in result.skills}
    assert "electrical power equipment" not in {skill.label for skill in result.skills}
    for match in (match for skill in result.skills for match in skill.matches):
        assert text[match.start : match.end] == match.text


@pytest.mark.parametrize(
    "sentence",
    [
        "If you need assistance or an accommodation due to a disability, you may contact us.",
        "Background check and drug test are required before hire.",
        "Offers depend on a background check and a drug screen.",
    ],
)
def test_employers_formulas_are_no_requirements(sentence):
    text = f"Requirements\n- Forklift licence\n{sentence}\n"
    zones = {s.text: s.zone for s in split_sentences(text, find_zones(text, None))}
    assert zones[sentence] in BOILERPLATE_ZONES


def test_many_texts_may_come_from_a_generator_but_not_as_one_string(mini_engine):
    for call in (mini_engine.link_batch, mini_engine.spans_batch):
        assert len(call(text for text in ["Java", "SQL"])) == 2
        with pytest.raises(TypeError, match="put a single one into a list"):
            call("Java")
        with pytest.raises(TypeError, match="text 2 is None"):
            call(["Java", None])


def test_what_is_not_a_title_or_a_text_is_named(mini_engine):
    with pytest.raises(TypeError, match="put a single one into a list"):
        mini_engine.occupations_batch("Welder")
    with pytest.raises(TypeError, match="title 2 is None"):
        mini_engine.occupations_batch(["Welder", None])
    with pytest.raises(ValueError, match="2 titles and 1 texts"):
        mini_engine.occupations_batch(["Welder", "Nurse"], ["Welds."])
    with pytest.raises(InvalidPostingError):
        mini_engine.occupations_batch(["Welder \ud800"])
    for k in (0, -1, "3"):
        with pytest.raises(ValueError, match="at least 1"):
            mini_engine.link("Python", k=k)
        with pytest.raises(ValueError, match="at least 1"):
            mini_engine.occupations_batch(["Welder"], k=k)
    with pytest.raises(TypeError, match="a posting has its own title"):
        mini_engine.extract(JobPosting(id="1", text="Know Python."), title="Developer")
    with pytest.raises(TypeError, match="the encoder is None"):
        SkillExtractor.load("mini", encoder=None)
    with pytest.raises(TypeError, match="the HTML of ad 'x' is None"):
        JobPosting.from_html("x", None)


def test_threads_share_an_engine(mini_engine):
    text = "Requirements:\n- Know Python and plan budgets\n- Data analysis in SQL\n"

    def extract():
        (result,) = mini_engine.extract_batch([text])
        return result.error or [skill.concept_id for skill in result.skills]

    calls = [
        extract,
        lambda: [candidate.concept_id for candidate in mini_engine.link("Know Python")],
        lambda: mini_engine.spans_batch([text]),
    ]
    expected = [call() for call in calls]
    assert all(expected)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda number: calls[number % 3](), range(60)))
    for number, one in enumerate(found):
        assert one == expected[number % 3]
