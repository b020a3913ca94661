"""Names of tools: the forms that job ads use, and one concept for the same tool.

O*NET writes "Structured query language SQL", "Amazon Web Services AWS software" and "Atlassian
JIRA" where ads write "SQL", "AWS" and "Jira". General rules take off makers, abbreviations and
the word "software"; a form that is an everyday word ("Access", "Project") is never made.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from taxonomies.delimit import FUNCTION_WORDS
from taxonomies.records import SKILL_KINDS, Concept
from taxonomies.text import base_name

MAKERS = (
    "Adobe Systems", "Adobe", "Amazon", "Apache", "Apple", "Atlassian", "Autodesk", "Broadcom",
    "Cisco Systems", "Cisco", "Citrix", "Corel", "Dassault Systemes", "ESRI", "Epic Systems",
    "Google", "HashiCorp", "Hewlett Packard", "Hewlett-Packard", "IBM", "Infor", "Intuit",
    "JetBrains", "MathWorks", "McAfee", "Meta", "Micro Focus", "Microsoft", "Mozilla", "NVIDIA",
    "Novell", "Oracle", "PTC", "Palo Alto Networks", "Red Hat", "Rockwell Automation", "SAP",
    "Sage", "Schneider Electric", "Siemens", "SmartBear", "SolarWinds", "Symantec", "Teradata",
    "The MathWorks", "Thomson Reuters", "Trimble", "VMware", "Veritas",
)  # fmt: skip
"""Makers that ads often leave out before the name of a product."""

_SOFTWARE = re.compile(r"(?: (?:database|programming language))? software$| programming language$")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_SMALL_WORD = re.compile(r"(?<![A-Za-z.'-])[a-z][a-z'-]*")
_PUNCTUATION = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class Forms:
    """Names made out of one name.

    Attributes:
        same: Other spellings of the name, safe to say that two concepts are one.
        short: Its abbreviation; others may have the same.
    """

    same: tuple[str, ...]
    short: tuple[str, ...] = ()


def tool_id(name: str) -> str:
    """Id of an O*NET technology skill, made from its name: `onet:tech/Microsoft_Excel`."""
    return f"onet:tech/{quote('_'.join(name.split()), safe='_')}"


def everyday_words(texts: Iterable[str]) -> frozenset[str]:
    """Words that stand in small letters in running text."""
    return frozenset(word for text in texts for word in _SMALL_WORD.findall(text))


def forms(name: str, everyday: frozenset[str]) -> Forms:
    """Make the forms under which ads name a tool.

    "Microsoft Power BI" gives "Power BI"; "Structured query language SQL" gives "Structured
    query language" and "SQL"; "Amazon Web Services AWS software" gives "Amazon Web Services"
    and "AWS". A form of everyday words alone is left out, except a name of three words and
    more that its own abbreviation follows.

    Args:
        name: Name as O*NET writes it.
        everyday: Words that do not tell a tool by themselves, in small letters.
    """
    bare = _SOFTWARE.sub("", name)
    long, short = _split_abbreviation(bare)
    if bare == name:
        same = [long]
    else:
        # "Statistical process control SPC software" is no tool any more without "software".
        same = [] if any(word.islower() for word in long.split()) else [long]
    for candidate in (name, *same) if bare == name or not same else tuple(same):
        maker = next((maker for maker in MAKERS if candidate.startswith(f"{maker} ")), "")
        same.append(candidate.removeprefix(f"{maker} "))

    def tells(form: str) -> bool:
        spelled_out = bool(short) and form == long and len(form.split()) > 2
        return not _is_everyday(form, everyday) or spelled_out

    kept = dict.fromkeys(
        form
        for form in same
        if form != name and tells(form) and form.split()[0].lower() not in FUNCTION_WORDS
    )
    return Forms(tuple(kept), tuple(form for form in short if not _is_everyday(form, everyday)))


def _split_abbreviation(name: str) -> tuple[str, tuple[str, ...]]:
    """`Customer relationship management CRM` into its words and its abbreviation."""
    head, _, last = name.rpartition(" ")
    words = [word for word in re.split(r"[\s/-]+", head) if word]
    if len(last) < 2 or not last.isupper() or not last.isalpha() or len(words) < 2:
        return name, ()
    all_initials = "".join(word[0] for word in words).upper()
    initials = "".join(word[0] for word in words if word.lower() not in FUNCTION_WORDS).upper()
    if all_initials.endswith(last) or initials.endswith(last):
        return head, (last,)
    return name, ()


def _is_everyday(form: str, everyday: frozenset[str]) -> bool:
    words = _WORD.findall(form)
    return len(form) < 2 or all(word.lower() in everyday for word in words)


def merge_tools(
    concepts: Sequence[Concept],
    tools: Sequence[Concept],
    supplement: Sequence[Concept],
    everyday: frozenset[str],
) -> list[Concept]:
    """Join tools of several sources, one concept for what has the same name.

    A tool of O*NET or of the supplement whose name is the label of a skill of `concepts`
    (without its bracketed qualifier) adds its names to that skill; a supplement entry that
    names tools of O*NET takes the place of them, with the id of the first.

    Args:
        concepts: Concepts of ESCO, which keep their ids, labels and kinds.
        tools: Tools of O*NET.
        supplement: Entries of ours.
        everyday: See `forms`.

    Returns:
        The concepts, then the tools and entries that stand for themselves.
    """
    made = {tool.id: forms(tool.label, everyday) for tool in tools}
    merged: dict[str, Concept] = {concept.id: concept for concept in concepts}
    labels: dict[str, str] = {}
    for concept in concepts:
        if concept.kind in SKILL_KINDS:
            for name in (concept.label, base_name(concept.label)):
                labels.setdefault(_key(name), concept.id)
    # Abbreviations and forms that several tools share say nothing about any of them.
    shared = Counter(
        key
        for tool in tools
        for key in {_key(name) for name in (*made[tool.id].same, *made[tool.id].short)}
    )
    taken = {_key(name) for concept in concepts for name in concept.names}
    for tool in tools:
        same, short = made[tool.id].same, made[tool.id].short
        keys = [_key(name) for name in (tool.label, *same, *short)]
        home = next((labels[key] for key in keys if key in labels), None)
        if home:
            merged[home] = _with_names(merged[home], (tool.label, *same, *short))
            continue
        own = [name for name in same if shared[_key(name)] == 1]
        abbreviations = [
            name for name in short if shared[_key(name)] == 1 and _key(name) not in taken
        ]
        merged[tool.id] = replace(tool, alt_labels=(*own, *abbreviations))
        for name in (tool.label, *own):
            labels.setdefault(_key(name), tool.id)
    for entry in supplement:
        homes = dict.fromkeys(labels[key] for key in map(_key, entry.names) if key in labels)
        from_onet = [merged.pop(home) for home in homes if home in made and home in merged]
        names = [name for tool in from_onet for name in tool.names]
        # A concept of ESCO comes first, then the first tool of O*NET, then an id of ours.
        if home := next((home for home in homes if home in merged), None):
            merged[home] = _with_names(merged[home], (*entry.names, *names))
        else:
            merged_id = from_onet[0].id if from_onet else entry.id
            merged[merged_id] = replace(entry, id=merged_id, alt_labels=(*entry.alt_labels, *names))
    return list(merged.values())


def _with_names(concept: Concept, names: Iterable[str]) -> Concept:
    return replace(concept, alt_labels=(*concept.alt_labels, *names))


def _key(name: str) -> str:
    """What two spellings of a name have in common; case tells the shortest apart (iOS, IOS)."""
    spaced = _PUNCTUATION.sub(" ", name)
    return spaced if len(spaced) < 4 else spaced.casefold()
