"""Results as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from extractor.language import ENGLISH
from extractor.records import (
    ROLE_NAMES,
    Candidate,
    Evidence,
    JobResult,
    Requirement,
    RoleAssessment,
    RoleClass,
    Skill,
    Years,
)

if TYPE_CHECKING:
    from extractor.batch import BatchSummary

_STYLES: dict[RoleClass, str] = {
    "created": "bold green",
    "augmented": "bold cyan",
    "threatened": "bold yellow",
    "unaffected": "bold white",
}
_MEANINGS: dict[RoleClass, str] = {
    "created": "the role exists because of machine learning",
    "augmented": "machine learning does part of the tasks, the person stays in charge",
    "threatened": "at risk: most duties are routine that machine learning can automate",
    "unaffected": "hands-on or in-person work that machine learning hardly touches",
}
_HEADINGS: dict[Requirement, str] = {
    "required": "Required skills",
    "preferred": "Preferred skills",
    "mentioned": "Mentioned skills",
    "negated": "Explicitly not needed",
}
_EVIDENCE_SHOWN = 6
_OCCUPATIONS_SHOWN = 3
_PLACES_SHOWN = 2
_WORDS_WIDTH = 56


def render_result(result: JobResult) -> RenderableType:
    """Lay out the result of one ad: role, evidence, occupations, skills by requirement."""
    if result.error:
        return Text(f"{result.id}: {_clean(result.error)}", style="bold red")
    parts: list[RenderableType] = []
    if result.role:
        parts += [_render_role(result.role), Text()]
    if result.occupations:
        parts += [_heading("Closest occupations")]
        for occupation in result.occupations[:_OCCUPATIONS_SHOWN]:
            code = f"  {occupation.code}" if occupation.code else ""
            line = Text.assemble(
                (f"{occupation.score:.2f}  ", "dim"), _clean(occupation.label), (code, "dim")
            )
            parts.append(Padding(line, (0, 0, 0, 2)))
        parts.append(Text())
    for requirement, heading in _HEADINGS.items():
        skills = [skill for skill in result.skills if skill.requirement == requirement]
        if skills:
            parts += [_heading(f"{heading} ({len(skills)})"), _skill_table(skills)]
    if result.experience or result.qualifications:
        parts += [_heading("Experience and qualifications"), _qualification_table(result)]
    if result.language in (None, ENGLISH) and not result.skills:
        parts.append(Text("No skill of the taxonomy found in this text."))
    if result.provenance:
        made = result.provenance
        parts.append(
            Text(
                f"jobshift {made.jobshift}, taxonomy {made.taxonomy} {made.taxonomy_version}, "
                f"encoder {made.encoder}",
                style="dim",
            )
        )
    return Group(*parts)


def render_candidates(candidates: Sequence[Candidate]) -> RenderableType:
    """Lay out concepts that a text may mean, best first."""
    if not candidates:
        return Text("No concept of the taxonomy fits.")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("score", justify="right")
    table.add_column("concept")
    table.add_column("kind")
    table.add_column("id", style="dim", overflow="fold")
    for candidate in candidates:
        table.add_row(
            f"{candidate.score:.2f}",
            Text(_clean(candidate.label)),
            Text(candidate.kind),
            Text(_clean(candidate.concept_id)),
        )
    return table


def render_summary(summary: BatchSummary) -> RenderableType:
    """Lay out the closing note of a run over a file."""
    table = Table.grid(padding=(0, 2))
    roles = [*ROLE_NAMES.items(), ("abstained", "abstained")]
    counts = ", ".join(
        f"{shown} {summary.roles[name]:,}" for name, shown in roles if name in summary.roles
    )
    resumed = (
        f" ({summary.resumed_rows:,} of them by an earlier run)" if summary.resumed_rows else ""
    )
    table.add_row("ads", f"{summary.rows:,}{resumed}")
    table.add_row("errors", Text(f"{summary.errors:,}", style="bold red" if summary.errors else ""))
    if summary.duplicates:
        table.add_row("duplicates", f"{summary.duplicates:,}")
    table.add_row("skills per ad", f"{summary.skills_per_ad:.1f}")
    table.add_row("roles", counts or "none")
    table.add_row("time", f"{summary.seconds:.1f} s, {summary.ads_per_s:.2f} ads/s")
    if summary.peak_memory_mb is not None:
        table.add_row("peak memory", f"{summary.peak_memory_mb:,.0f} MB")
    return table


def _heading(words: str) -> Text:
    return Text(words, style="bold underline")


def _render_role(role: RoleAssessment) -> RenderableType:
    parts: list[RenderableType] = []
    if role.label is None:
        parts.append(
            Text.assemble(("Role: no class  ", "bold"), _clean(role.abstained or "no reason given"))
        )
    else:
        probability = role.probabilities.get(role.label)
        shown = "" if probability is None else f"  p = {probability:.2f}"
        channel = f"  ({role.channel} routine)" if role.channel else ""
        parts += [
            Text.assemble(
                ("Role: ", "bold"), (ROLE_NAMES[role.label], _STYLES[role.label]), shown, channel
            ),
            Padding(Text(_MEANINGS[role.label]), (0, 0, 0, 2)),
        ]
    if role.nearest and role.nearest != role.label:
        parts.append(Padding(Text(f"nearest class: {ROLE_NAMES[role.nearest]}"), (0, 0, 0, 2)))
    others = ", ".join(
        f"{ROLE_NAMES[name]} {value:.2f}"
        for name, value in sorted(role.probabilities.items(), key=lambda item: -item[1])
        if name != role.label
    )
    if others:
        parts.append(Padding(Text(f"other classes: {others}", style="dim"), (0, 0, 0, 2)))
    parts += [Padding(Text(f"note: {_clean(note)}"), (0, 0, 0, 2)) for note in role.notes]
    if role.evidence:
        parts += [Text(), _heading("Evidence, heaviest first"), _evidence_table(role.evidence)]
        parts.append(_render_flip(role))
    return Group(*parts)


def _render_flip(role: RoleAssessment) -> RenderableType:
    """What would change the label, and where the evidence comes from."""
    sources = "; ".join(dict.fromkeys(item.source for item in role.evidence if item.source))
    lines = []
    if role.flips_to:
        removed = ", ".join(_quote(role.evidence[i].text) for i in role.flips_without)
        lines.append(f"It would be {ROLE_NAMES[role.flips_to]} without {removed}")
    elif role.label:
        lines.append("No few pieces of this evidence, left out, change the class")
    if sources:
        lines.append(f"from: {_clean(sources)}")
    return Padding(Text("\n".join(lines), style="dim"), (0, 0, 0, 2))


def _evidence_table(evidence: Sequence[Evidence]) -> RenderableType:
    table = _grid()
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for item in evidence[:_EVIDENCE_SHOWN]:
        words = Text(_quote(item.text) + _place(item.start, item.end))
        if item.note:
            words.append(f"  {_clean(item.note)}", style="dim")
        table.add_row(
            Text(ROLE_NAMES[item.points_to], style=_STYLES[item.points_to]), item.kind, words
        )
    rest = len(evidence) - _EVIDENCE_SHOWN
    if rest > 0:
        table.add_row("", "", Text(f"and {rest} more (--json shows all)", style="dim"))
    return table


def _skill_table(skills: Iterable[Skill]) -> RenderableType:
    table = _grid()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=2)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(ratio=3)
    for skill in skills:
        places = [
            _quote(match.text) + _place(match.start, match.end)
            for match in skill.matches[:_PLACES_SHOWN]
        ]
        rest = len(skill.matches) - _PLACES_SHOWN
        if rest > 0:
            places.append(f"and {rest} more")
        table.add_row(
            f"{skill.score:.2f}",
            Text.assemble((_clean(skill.label), "bold"), _mastery(skill)),
            skill.kind,
            Text("; ".join(places)),
        )
    return Padding(table, (0, 0, 1, 0))


def _qualification_table(result: JobResult) -> RenderableType:
    table = _grid()
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(ratio=1)
    stated = result.experience
    if stated:
        words = _quote(stated.text) + _place(stated.start, stated.end)
        table.add_row(_shown_years(stated.years), stated.requirement, Text(words))
    for item in result.qualifications:
        name = f"{item.kind}, {item.level}" if item.level else item.kind
        words = _quote(item.text) + _place(item.start, item.end)
        table.add_row(name, item.requirement, Text(words))
    return Padding(table, (0, 0, 1, 0))


def _mastery(skill: Skill) -> str:
    """How well and how long, in a few words: " (C1, 3+ years)"."""
    years = _shown_years(skill.years) if skill.years else None
    shown = ", ".join(part for part in (skill.cefr or skill.level, years) if part)
    return f" ({shown})" if shown else ""


def _shown_years(years: Years) -> str:
    if years.maximum is None:
        return f"{years.minimum:g}+ years"
    return f"{years.minimum:g}–{years.maximum:g} years"


def _grid() -> Table:
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0), expand=True)


def _place(start: int | None, end: int | None) -> str:
    return "" if start is None or end is None else f" [{start}–{end}]"


def _quote(words: str) -> str:
    words = _clean(words)
    if len(words) > _WORDS_WIDTH:
        words = words[: _WORDS_WIDTH - 1].rstrip() + "…"
    return f"“{words}”"


def _clean(words: str) -> str:
    """One line without control characters: an ad must not steer the terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in words).split())
