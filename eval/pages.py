"""One report of many runs: Markdown, and a self-contained page with tables and plots."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval.errors import EvaluationError
from eval.report import cell, read_json, unpack

SHOWN_SLICES = 2
"""Metrics shown of a slice."""


class Table(NamedTuple):
    """Rows of cells below a head."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class Section(NamedTuple):
    """What the report says of one run.

    Attributes:
        title: Its heading.
        facts: Lines about what was run on what.
        tables: Its figures.
        plots: Plots as SVG, by title.
    """

    title: str
    facts: Sequence[str]
    tables: Sequence[Table]
    plots: Mapping[str, str]


def write_pages(folder: Path) -> tuple[Path, Path]:
    """Write `report.md` and `report.html` about all runs of a folder.

    Args:
        folder: Holds the files that `--json` wrote.

    Returns:
        The two files.

    Raises:
        EvaluationError: The folder holds no runs, a file is no report, matplotlib is missing, or a
            file cannot be written.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise EvaluationError(
            f"{folder}: holds no reports; write some with `python -m eval TASK FILE --json "
            f"{folder}/NAME.json`"
        )
    reports = {path.stem: read_json(path) for path in paths}
    sections = [_section(name, report) for name, report in reports.items()]
    environment = _environment(reports.values())
    markdown, page = folder / "report.md", folder / "report.html"
    try:
        markdown.write_text(_markdown(environment, sections), encoding="utf-8")
        page.write_text(_page(environment, sections), encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return markdown, page


def _environment(reports: Iterable[Mapping[str, Any]]) -> Table:
    """Versions and hardware; a value that differs between runs is given with each of them."""
    values: dict[str, list[str]] = {}
    for report in reports:
        hardware = dict(report["hardware"])
        threads = hardware.pop("threads", {})
        facts = report["versions"] | hardware | {f"threads: {k}": v for k, v in threads.items()}
        for name, value in facts.items():
            if str(value) not in values.setdefault(name, []):
                values[name].append(str(value))
    rows = [(name, ", ".join(found)) for name, found in values.items()]
    return Table("Versions and hardware", ("", ""), rows)


def _section(name: str, report: Mapping[str, Any]) -> Section:
    facts = [
        f"command: `{report['command']}`",
        *(f"data: `{Path(path).name}`, SHA-256 `{sha}`" for path, sha in report["data"].items()),
    ]
    if report["task"] == "peers":
        notes = [f"{system}: {note}" for system, found in report["notes"].items() for note in found]
        notes += [f"skipped: {reason}" for reason in report["missing"]]
    else:
        provenance = report["provenance"]
        facts += [
            f"{report['n']} rows, {report['seconds']:.0f} s",
            f"taxonomy {provenance['taxonomy']} {provenance['taxonomy_version']} "
            f"(`{provenance['taxonomy_sha256'][:12]}`), encoder {provenance['encoder']}, "
            + ", ".join(f"{part} {version}" for part, version in provenance["parts"].items()),
        ]
        notes = report["notes"]
    tables = [_systems(report), *_slices(report.get("slices", {}))]
    if confusion := report.get("confusion"):
        labels = list(next(iter(confusion.values())))
        rows = [(gold, *(str(row[label]) for label in labels)) for gold, row in confusion.items()]
        tables.append(Table("confusion, gold in rows", ("", *labels), rows))
    return Section(name, [*facts, *notes], tables, _plots(report))


def _systems(report: Mapping[str, Any]) -> Table:
    systems = {report["system"]: report["metrics"], **report["baselines"]}
    metrics = dict.fromkeys(metric for found in systems.values() for metric in found)
    rows = [
        (metric, *(_cell(found.get(metric)) for found in systems.values())) for metric in metrics
    ]
    return Table("", ("metric", *systems), rows)


def _slices(slices: Mapping[str, Any]) -> list[Table]:
    tables = []
    for dimension, parts in slices.items():
        names = dict.fromkeys(name for part in parts.values() for name in part["metrics"])
        shown = list(names)[:3] if "precision" in names else list(names)[:SHOWN_SLICES]
        rows = [
            (label, str(part["n"]), *(_cell(part["metrics"].get(name)) for name in shown))
            for label, part in parts.items()
        ]
        tables.append(Table(f"by {dimension}", (dimension, "n", *shown), rows))
    return tables


def _cell(plain: Mapping[str, float] | None) -> str:
    return cell(unpack(plain, {"values": "", "drawn": ""}) if plain else None)


def _plots(report: Mapping[str, Any]) -> dict[str, str]:
    plots = {"figures with 95 % intervals": _bars(report)}
    if bins := report.get("calibration"):
        plots["calibration"] = _curve(
            [one["confidence"] for one in bins],
            [one["accuracy"] for one in bins],
            ("confidence", "share that is right"),
            diagonal=True,
        )
    if points := report.get("risk_coverage"):
        plots["risk and coverage"] = _curve(
            [one["coverage"] for one in points],
            [one["risk"] for one in points],
            ("coverage: share of answers given", "risk: share of these that is wrong"),
        )
    return plots


def _bars(report: Mapping[str, Any]) -> str:
    """The metrics between 0 and 1 of all systems, with their intervals."""
    systems = {report["system"]: report["metrics"], **report["baselines"]}
    names = [name for name, found in report["metrics"].items() if 0 <= found["high"] <= 1]
    figure, axes = _figure(height=0.6 + 0.16 * len(names) * len(systems))
    for place, (system, found) in enumerate(systems.items()):
        shown = [(row, found[name]) for row, name in enumerate(names) if name in found]
        values = [one["value"] for _, one in shown]
        axes.errorbar(
            values,
            [-row - place / (len(systems) + 1) for row, _ in shown],
            xerr=[
                [max(one["value"] - one["low"], 0) for _, one in shown],
                [max(one["high"] - one["value"], 0) for _, one in shown],
            ],
            fmt="o",
            markersize=3,
            capsize=2,
            linewidth=1,
            label=system,
        )
    axes.set_yticks([-row for row in range(len(names))], names)
    axes.set_xlim(0, 1)
    axes.grid(axis="x", linewidth=0.3)
    axes.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
    return _svg(figure)


def _curve(
    x: Sequence[float], y: Sequence[float], labels: tuple[str, str], *, diagonal: bool = False
) -> str:
    figure, axes = _figure(height=2.6, width=3.4)
    if diagonal:
        axes.plot([0, 1], [0, 1], linewidth=0.5, color="grey")
    axes.plot(x, y, marker="." if diagonal else "", linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(labels[0], fontsize="small")
    axes.set_ylabel(labels[1], fontsize="small")
    return _svg(figure)


def _figure(*, height: float, width: float = 7.0) -> Any:
    try:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise EvaluationError("the report needs matplotlib: pip install 'jobshift[eval]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.subplots()


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    out = io.StringIO()
    # Fixed ids and no date: the same runs give the same report.
    with mpl.rc_context({"svg.hashsalt": "jobshift"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]


def _markdown(environment: Table, sections: Sequence[Section]) -> str:
    lines = ["# Evaluation", "", *_markdown_table(environment)]
    for section in sections:
        lines += ["", f"## {section.title}", "", *(f"- {fact}" for fact in section.facts)]
        for table in section.tables:
            lines += ["", *_markdown_table(table)]
    return "\n".join(lines) + "\n"


def _markdown_table(table: Table) -> list[str]:
    title = [f"**{table.title}**", ""] if table.title else []
    return [
        *title,
        "| " + " | ".join(table.head) + " |",
        "| --- " * len(table.head) + "|",
        *(
            "| " + " | ".join(value.replace("|", "\\|") for value in row) + " |"
            for row in table.rows
        ),
    ]


def _page(environment: Table, sections: Sequence[Section]) -> str:
    contents = "".join(
        f'<li><a href="#{html.escape(s.title)}">{html.escape(s.title)}</a></li>' for s in sections
    )
    body = "".join(
        f'<h2 id="{html.escape(section.title)}">{html.escape(section.title)}</h2><ul>'
        + "".join(f"<li>{_code(fact)}</li>" for fact in section.facts)
        + "</ul>"
        + "".join(map(_html_table, section.tables))
        + "".join(
            f"<figure><figcaption>{html.escape(title)}</figcaption>{svg}</figure>"
            for title, svg in section.plots.items()
        )
        for section in sections
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Evaluation</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
td, th {{ border: 1px solid #ddd; padding: .2rem .6rem; text-align: left }}
figure {{ display: inline-block; margin: .5rem; vertical-align: top }}
ul {{ overflow-wrap: anywhere }}
</style>
<h1>Evaluation</h1><ul>{contents}</ul>
{_html_table(environment)}
{body}
</html>
"""


def _code(fact: str) -> str:
    parts = html.escape(fact).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(value)}</th>" for value in table.head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(value)}</td>" for value in row) + "</tr>"
        for row in table.rows
    )
    title = f"<h3>{html.escape(table.title)}</h3>" if table.title else ""
    return f"{title}<table><tr>{head}</tr>{rows}</table>"
