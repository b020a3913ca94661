import json
import multiprocessing

import pytest

import taxonomies
from taxonomies import (
    TaxonomyError,
    TaxonomyNotInstalledError,
    folder,
    install,
    installed,
    load,
    manifest,
    read_taxonomy,
    remove,
)

TABLE = (
    "id,label,alt_labels,description,kind,parents,code\n"
    "k:1,build kites,make kites|kite building,Build.,skill,k:2,\n"
    "k:2,crafts,,,group,,7\nk:3,C,,,knowledge,,\n"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "kites.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_what_is_installed_is_what_is_loaded(source):
    lines = []
    path = install("kites-1.2.0", source=source, progress=lines.append)
    read = read_taxonomy(source, name="kites-1.2.0", version="1.2.0")
    loaded = load("kites-1.2.0")
    assert loaded == read
    assert loaded.sha256 == read.sha256
    assert path == folder("kites-1.2.0")
    assert lines
    about = manifest("kites-1.2.0")
    assert about.version == "1.2.0"
    assert about.counts == {"skill": 1, "group": 1, "knowledge": 1}
    assert about.relations == {"broader": 1}
    assert list(about.sources) == ["kites.csv"]
    assert installed() == [about]


def test_install_again_keeps_what_was_derived_from_the_same_content(source):
    path = install("kites", source=source)
    (path / "index-mini").mkdir()
    install("kites", source=source)
    assert (path / "index-mini").is_dir()
    source.write_text(TABLE.replace("Build.", "Build well."), encoding="utf-8")
    install("kites", source=source)
    assert not (path / "index-mini").exists()
    assert load("kites")["k:1"].description == "Build well."


def test_an_interrupted_install_leaves_the_old_one_and_is_cleared_away(source, cache, monkeypatch):
    install("kites", source=source)
    before = load("kites")
    source.write_text(TABLE.replace("Build.", "Build well."), encoding="utf-8")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("taxonomies.store._describe", interrupt)
        with pytest.raises(KeyboardInterrupt):
            install("kites", source=source)
    assert load("kites") == before
    assert list(cache.glob(".kites~*"))
    install("kites", source=source)
    assert not list(cache.glob(".kites~*"))
    assert load("kites") != before


def _install(source, results):
    install("kites", source=source)
    results.put(load("kites").sha256)


def test_two_at_once(source, cache):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    runs = [context.Process(target=_install, args=(source, results)) for _ in range(2)]
    for run in runs:
        run.start()
    hashes = {results.get(timeout=60) for _ in runs}
    for run in runs:
        run.join()
    assert hashes == {read_taxonomy(source).sha256}
    assert not list(cache.glob(".kites~*"))


@pytest.mark.parametrize("file", ["concepts.arrow", "relations.arrow"])
def test_tampered_or_missing_files_are_refused(source, file):
    path = install("kites", source=source) / file
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(
        TaxonomyNotInstalledError, match=r"changed.*jobshift taxonomy install kites"
    ):
        load("kites")
    path.write_bytes(b"")
    with pytest.raises(TaxonomyNotInstalledError, match="jobshift taxonomy install kites"):
        load("kites")
    path.unlink()
    with pytest.raises(TaxonomyNotInstalledError, match="not complete"):
        load("kites")
    install("kites", source=source)
    assert len(load("kites")) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about | {"schema": 99}, "newer version of jobshift"),
        (lambda about: about | {"schema": 0}, "older version of jobshift"),
        (lambda about: about | {"schema": "one"}, "cannot be read"),
        (lambda about: about | {"surprise": 1}, "cannot be read"),
        (lambda about: {"schema": 1}, "cannot be read"),
        (lambda about: [], "cannot be read"),
        (lambda about: about | {"files": {}}, "cannot be read"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(source, change, message):
    path = install("kites", source=source) / "manifest.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))), encoding="utf-8")
    with pytest.raises(TaxonomyNotInstalledError, match=message):
        load("kites")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(TaxonomyNotInstalledError, match="cannot be read"):
        load("kites")
    assert installed() == []


def test_remove(source):
    path = install("kites", source=source)
    (path / "index-mini").mkdir()
    remove("kites")
    assert not path.exists()
    assert installed() == []
    with pytest.raises(TaxonomyNotInstalledError, match="not installed"):
        remove("kites")
    with pytest.raises(TaxonomyNotInstalledError, match=r"install kites --from FILE"):
        load("kites")
    with pytest.raises(TaxonomyNotInstalledError, match=r"install default$"):
        load("default")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a..b", "a/b", "a\\b", "../x", "Esco", "x~1", ".x", "x.", "a b", "x" * 64],
)
def test_names(name, source):
    for call in (folder, load, remove, manifest, lambda n: install(n, source=source)):
        with pytest.raises(TaxonomyError, match="is no name"):
            call(name)


def test_a_name_that_is_not_built_in_needs_a_source(source):
    with pytest.raises(TaxonomyError, match=r"not built in \(those are default, esco, onet\)"):
        install("kites")
    assert taxonomies.available() == ("default", "esco", "onet")
