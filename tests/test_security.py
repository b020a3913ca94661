"""Nothing that is loaded can run code, leave its folder or call the network."""

import ast
import socket
import zipfile
from pathlib import Path

import pytest

import taxonomies
from extractor import JobPosting
from extractor.batch import run_batch
from extractor.files import read_results

ROOT = Path(__file__).parents[1]
CODE = [path for name in ("extractor", "taxonomies") for path in (ROOT / name).rglob("*.py")]
RUNS_CODE = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.name)
def test_nothing_is_unpickled_evaluated_or_unpacked(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not RUNS_CODE & {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in RUNS_CODE
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                assert called.id not in {"eval", "exec"}
            elif isinstance(called, ast.Attribute):
                # `extractor.extract(…)` is ours; a zip has its members read, never unpacked.
                name = ast.unparse(called)
                assert called.attr not in {"extractall", "unpack_archive"}, name
                if called.attr == "load":
                    assert not name.startswith(("torch.", "np.load(")), name
                    assert not any(word.arg == "allow_pickle" for word in node.keywords), name


def test_members_of_an_archive_stay_inside(tmp_path):
    """Names with `..` or a root are looked up in the archive alone; nothing is written."""
    archive = tmp_path / "inside" / "evil.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("../../evil.csv", "/evil2.csv", "..\\evil3.csv"):
            opened.writestr(name, "id,label\nx,y\n")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(taxonomies.TaxonomyError):
        taxonomies.read_taxonomy(archive, name="evil")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "..", "", "a\0b", ".hidden"])
def test_name_of_a_taxonomy_is_no_path(name, tmp_path, monkeypatch):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "mine.csv"
    source.write_text("id,label\nx,manage data\n")
    with pytest.raises(taxonomies.TaxonomyError):
        taxonomies.install(name, source=source)
    assert not (tmp_path / "evil").exists()


def test_extraction_needs_no_network(mini_engine, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was called")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    page = (
        '<img src="http://example.org/a.png"><script src="//example.org/x.js"></script>'
        '<link rel=stylesheet href="http://example.org/s.css"><iframe src="file:///etc/passwd">'
        "</iframe><object data='http://example.org'></object><p>You must know Python."
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>&b;'
    )
    posting = JobPosting.from_html("page", page)
    assert "root:" not in posting.text
    result = mini_engine.extract(posting)
    assert [skill.label for skill in result.skills] == ["Python (computer programming)"]
    ads = tmp_path / "ads.csv"
    ads.write_text("id,text\n\"=cmd|' /C calc'!A0\",You must know Python\n")
    run_batch(mini_engine, ads, tmp_path / "out.csv")
    assert b"\n'=cmd" in (tmp_path / "out.csv").read_bytes()
    run_batch(mini_engine, ads, tmp_path / "out.jsonl")
    assert next(read_results(tmp_path / "out.jsonl")).error is None
