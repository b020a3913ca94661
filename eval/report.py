"""Reports: a table for people, one JSON object for machines."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eval.errors import EvaluationError
from eval.metrics import CONFIDENCE, RESAMPLES, SEED, Estimate
from eval.tasks import Estimates, Outcome
from extractor.records import Provenance

PACKAGES = (
    "bm25s",
    "faiss-cpu",
    "numpy",
    "scikit-learn",
    "sentence-transformers",
    "spacy",
    "torch",
)
"""Packages that a result may depend on; those that are installed are named in a report."""


@dataclass(frozen=True)
class Report:
    """An outcome and all that it depends on.

    Attributes:
        task: Name of the task.
        files: Files of labelled rows.
        command: The command line that gives this report.
        outcome: What the task found.
        provenance: What the engine's results depend on.
        seconds: Time for loading and scoring together.
    """

    task: str
    files: Sequence[Path]
    command: str
    outcome: Outcome
    provenance: Provenance
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, metrics as `{"value", "low", "high"}`."""
        (_, metrics), *baselines = self.outcome.systems.items()
        return {
            "task": self.task,
            "files": [str(file) for file in self.files],
            "n": self.outcome.n,
            "metrics": _plain(metrics),
            "baseline": _plain(baselines[0][1]),
            "versions": versions(self.provenance),
            "seconds": round(self.seconds, 3),
            "command": self.command,
            "taxonomy": self.provenance.taxonomy,
            "encoder": self.provenance.encoder,
            "provenance": self.provenance.model_dump(),
            "baselines": {name: _plain(estimates) for name, estimates in baselines},
            "bootstrap": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED},
            "notes": self.outcome.notes,
            **self.outcome.details,
        }

    def write(self, path: Path) -> None:
        """Write the report as JSON.

        Raises:
            EvaluationError: The file cannot be written.
        """
        content = json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=2)
        try:
            path.write_text(content + "\n", encoding="utf-8")
        except OSError as error:
            raise EvaluationError(f"{path}: cannot be written: {error.strerror}") from error

    def print(self, console: Console) -> None:
        """Show the report."""
        outcome, used = self.outcome, self.provenance
        table = Table(title=f"{self.task}: {outcome.n} rows", title_justify="left")
        table.add_column("metric")
        for system in outcome.systems:
            table.add_column(system, justify="right")
        for name in dict.fromkeys(name for column in outcome.systems.values() for name in column):
            cells = (_cell(column.get(name)) for column in outcome.systems.values())
            table.add_row(name, *cells)
        console.print(table)
        if confusion := outcome.details.get("confusion"):
            console.print(_confusion_table(confusion))
        for note in outcome.notes:
            console.print(note, markup=False, highlight=False)
        remarks = (
            f"intervals: {CONFIDENCE:.0%} bootstrap, {RESAMPLES} resamples, seed {SEED}",
            f"taxonomy {used.taxonomy} {used.taxonomy_version} ({used.taxonomy_sha256[:12]}), "
            f"encoder {used.encoder}",
            ", ".join(f"{name} {number}" for name, number in versions(used).items()),
            f"{self.seconds:.1f} s: {self.command}",
        )
        for remark in remarks:
            console.print(remark, markup=False, highlight=False, style="dim", soft_wrap=True)


def versions(provenance: Provenance) -> dict[str, str]:
    """Versions of the package, of Python and of the packages that results depend on."""
    found = {"jobshift": provenance.jobshift, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | {"taxonomy": provenance.taxonomy_version}


def _plain(estimates: Estimates) -> dict[str, dict[str, float]]:
    return {name: estimate._asdict() for name, estimate in estimates.items()}


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    value, low, high = map(_number, estimate)
    return value if low == high else f"{value} ({low}–{high})"


def _number(value: float) -> str:
    decimals = 3 if value < 10 else 1 if value < 1000 else 0
    return f"{value:,.{decimals}f}"


def _confusion_table(confusion: dict[str, dict[str, int]]) -> Table:
    predicted = next(iter(confusion.values()))
    table = Table(title="confusion: gold in rows, predicted in columns", title_justify="left")
    table.add_column("gold")
    for label in predicted:
        table.add_column(label, justify="right")
    for label, row in confusion.items():
        table.add_row(label, *(str(count) for count in row.values()))
    return table
