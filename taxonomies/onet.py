"""Reader of the O*NET text archive (https://www.onetcenter.org/database.html)."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from taxonomies.build import build_taxonomy
from taxonomies.errors import TaxonomyFormatError
from taxonomies.files import SourceFiles
from taxonomies.records import Concept, Relation, Taxonomy
from taxonomies.tools import tool_id

LICENCE = (
    "This product includes information from O*NET by the U.S. Department of Labor, Employment "
    "and Training Administration (USDOL/ETA), used under the CC BY 4.0 license "
    "(https://creativecommons.org/licenses/by/4.0/). O*NET is a trademark of USDOL/ETA. The "
    "jobshift project has modified some of this information; USDOL/ETA has not approved, "
    "endorsed or tested these modifications."
)
OCCUPATIONS = "Occupation Data.txt"
TASKS = "Task Statements.txt"
TOOLS = "Technology Skills.txt"
TITLES = (
    ("Alternate Titles.txt", ("Alternate Title", "Short Title")),
    ("Sample of Reported Titles.txt", ("Reported Job Title",)),
)
CODE = "O*NET-SOC Code"

_VERSION = re.compile(r"(?:db|onet|O\*NET)[-_ ]*v?(\d+)[._](\d+)", re.I)


def occupation_id(code: str) -> str:
    """Id of the occupation with an O*NET-SOC code such as `15-2051.00`."""
    return f"onet:occupation/{code}"


def read_onet(
    path: str | Path,
    *,
    name: str = "onet",
    version: str | None = None,
    language: str | None = None,
) -> Taxonomy:
    """Read the tab-separated text archive of O*NET, or only its list of occupations.

    Args:
        path: The unpacked folder or the zip; all files but `Occupation Data.txt` may be absent.
        name: Name of the taxonomy.
        version: Version of O*NET; by default what the name of the archive says, else `unknown`.
        language: Must be `en` if given: O*NET has no other.

    Returns:
        Occupations (`code` is the O*NET-SOC code) and technology skills; relations `task` from
        an occupation to the words of a task, and `tool` to a technology skill.

    Raises:
        TaxonomyFormatError: The list of occupations is missing, or a file cannot be read.
    """
    if language not in (None, "en"):
        raise TaxonomyFormatError(f"O*NET is in English only, not in {language!r}")
    files = SourceFiles(Path(path))
    if OCCUPATIONS not in files.names:
        raise TaxonomyFormatError(f"{path} is no O*NET text archive: it holds no {OCCUPATIONS}")
    titles: dict[str, list[str]] = defaultdict(list)
    for table, columns in TITLES:
        if table in files.names:
            for row in files.rows(table, (CODE, columns[0]), delimiter="\t"):
                # O*NET writes "n/a" where there is no short title.
                titles[row[CODE]] += [
                    row[column] for column in columns if row.get(column, "n/a") != "n/a"
                ]
    occupations = [
        Concept(
            id=occupation_id(row[CODE]),
            label=row["Title"],
            kind="occupation",
            alt_labels=tuple(titles[row[CODE]]),
            description=row.get("Description", ""),
            code=row[CODE],
        )
        for row in files.rows(OCCUPATIONS, (CODE, "Title"), delimiter="\t")
    ]
    relations = []
    if TASKS in files.names:
        relations += [
            Relation(occupation_id(row[CODE]), row["Task"], "task")
            for row in files.rows(TASKS, (CODE, "Task"), delimiter="\t")
        ]
    tools: dict[str, Concept] = {}
    if TOOLS in files.names:
        for row in files.rows(TOOLS, (CODE, "Example"), delimiter="\t"):
            tool = Concept(
                id=tool_id(row["Example"]),
                label=row["Example"],
                kind="tool",
                description=row.get("Commodity Title", ""),
            )
            tools.setdefault(tool.id, tool)
            relations.append(Relation(occupation_id(row[CODE]), tool.id, "tool"))
    stated = _VERSION.search(Path(path).name)
    return build_taxonomy(
        (*occupations, *tools.values()),
        relations,
        name=name,
        version=version or (f"{stated[1]}.{stated[2]}" if stated else "unknown"),
        language="en",
        licence=LICENCE,
    )
