"""Two runs on the same rows: which figures differ by more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from eval.errors import EvaluationError
from eval.metrics import CONFIDENCE, Difference, Estimate, difference
from eval.report import cell, number, read_json, unpack

SIGNIFICANT = 1 - CONFIDENCE


class Compared(NamedTuple):
    """One metric of two runs.

    Attributes:
        first: Estimate of the first run.
        second: Estimate of the second run.
        gain: Second minus first; None where they were not measured on the same documents.
    """

    first: Estimate
    second: Estimate
    gain: Difference | None


def compare(
    first: Path, second: Path, systems: tuple[str | None, str | None] = (None, None)
) -> dict[str, Compared]:
    """Compare two reports metric by metric, by paired bootstrap.

    Args:
        first: Report that `--json` wrote.
        second: Report of the same task on the same rows.
        systems: Which system of each; the one under evaluation if None.

    Returns:
        All metrics that both have.

    Raises:
        EvaluationError: A file is no report, or the two were not made on the same rows.
    """
    reports = read_json(first), read_json(second)
    for path, report in zip((first, second), reports, strict=True):
        if report["task"] != reports[0]["task"]:
            raise EvaluationError(
                f"{path}: a report of {report['task']}, while {first} is one of "
                f"{reports[0]['task']}; only runs of one task can be compared"
            )
        if list(report["data"].values()) != list(reports[0]["data"].values()):
            raise EvaluationError(
                f"{path}: made on other files than {first} (their hashes differ); "
                "score both runs on the same rows"
            )
    both = [
        _estimates(path, report, system)
        for path, report, system in zip((first, second), reports, systems, strict=True)
    ]
    shared = [name for name in both[0] if name in both[1]]
    if not shared:
        raise EvaluationError(f"{first} and {second} have no metric in common")
    return {
        name: Compared(both[0][name], both[1][name], _gain(both[1][name], both[0][name]))
        for name in shared
    }


def table(title: str, compared: Mapping[str, Compared]) -> Table:
    """The comparison for people."""
    shown = Table(title=title, title_justify="left")
    for column in ("metric", "first", "second", "gain", "p"):
        shown.add_column(column, justify="left" if column == "metric" else "right")
    for name, (first, second, gain) in compared.items():
        if gain is None:
            shown.add_row(name, cell(first), cell(second), "not on the same rows", "–")
            continue
        star = " *" if gain.p < SIGNIFICANT else ""
        bounds = f"{gain.value:+.3f} ({number(gain.low)} to {number(gain.high)})"
        shown.add_row(name, cell(first), cell(second), bounds, f"{gain.p:.3f}{star}")
    return shown


def _estimates(path: Path, report: Mapping[str, Any], system: str | None) -> dict[str, Estimate]:
    known = {report["system"]: report["metrics"], **report["baselines"]}
    name = system or report["system"]
    if name not in known:
        raise EvaluationError(
            f"{path}: has no system {name!r}; it has {', '.join(map(repr, known))}"
        )
    packed = report["resamples"][name]
    return {metric: unpack(plain, packed[metric]) for metric, plain in known[name].items()}


def _gain(ours: Estimate, theirs: Estimate) -> Difference | None:
    if not ours.drawn or ours.drawn != theirs.drawn:
        return None
    return difference(ours, theirs)
