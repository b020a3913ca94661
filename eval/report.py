"""Reports: a table for people, one JSON object for machines."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from eval.errors import EvaluationError
from eval.metrics import CONFIDENCE, RESAMPLES, SEED, Array, Estimate
from eval.tasks import ENGINE, Estimates, Outcome, Slice, thread_count
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

SHOWN = 3
"""Metrics of a slice that fit on a screen; the JSON report has all."""


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
        (system, metrics), *baselines = self.outcome.systems.items()
        return {
            "task": self.task,
            "files": [str(file) for file in self.files],
            "n": self.outcome.n,
            "system": system,
            "metrics": plain(metrics),
            "baseline": plain(baselines[0][1]),
            "versions": versions(self.provenance),
            "seconds": round(self.seconds, 3),
            "command": self.command,
            "taxonomy": self.provenance.taxonomy,
            "encoder": self.provenance.encoder,
            "provenance": self.provenance.model_dump(),
            "baselines": {name: plain(estimates) for name, estimates in baselines},
            "bootstrap": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED},
            "notes": self.outcome.notes,
            "slices": {
                dimension: {
                    name: {"n": part.n, "metrics": plain(part.metrics)}
                    for name, part in parts.items()
                }
                for dimension, parts in self.outcome.slices.items()
            },
            "data": {str(file): sha256_of(file) for file in self.files},
            "hardware": hardware(),
            "resamples": {
                name: {metric: pack(estimate) for metric, estimate in estimates.items()}
                for name, estimates in self.outcome.systems.items()
            },
            **self.outcome.details,
        }

    def write(self, path: Path) -> None:
        """Write the report as JSON.

        Raises:
            EvaluationError: The file cannot be written.
        """
        write_json(path, self.to_dict())

    def print(self, console: Console, *, slices: bool = False) -> None:
        """Show the report, with its slices if they are asked for."""
        outcome, used = self.outcome, self.provenance
        console.print(systems_table(f"{self.task}: {outcome.n} rows", outcome.systems))
        if confusion := outcome.details.get("confusion"):
            console.print(_confusion_table(confusion))
        if slices:
            for dimension, parts in outcome.slices.items():
                console.print(_slices_table(dimension, parts))
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


def hardware() -> dict[str, Any]:
    """The machine: its processor, cores, memory in 10⁹ bytes, and the threads in use."""
    found: dict[str, Any] = {"system": platform.platform(), "processor": platform.machine()}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        found["processor"] = next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        pass  # only Linux tells, and not on every processor
    if hasattr(os, "sysconf"):
        pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found["memory_gb"] = round(pages / 1e9, 1)
    return found | {"threads": thread_count()}


def sha256_of(path: Path) -> str:
    """Hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pack(estimate: Estimate, count: int | None = None) -> dict[str, str]:
    """Resampled values for a JSON file: little-endian float32 in base64.

    Args:
        estimate: An estimate.
        count: How many of its resamples; all by default.
    """
    values = estimate.resampled[:count].astype("<f4")
    return {"drawn": estimate.drawn, "values": base64.b64encode(values.tobytes()).decode("ascii")}


def unpack(plain: Mapping[str, float], packed: Mapping[str, str]) -> Estimate:
    """An estimate as `plain` and `pack` wrote it."""
    values = np.frombuffer(base64.b64decode(packed["values"]), dtype="<f4")
    resampled: Array = values.astype(np.float64)
    return Estimate(plain["value"], plain["low"], plain["high"], resampled, packed["drawn"])


def read_json(path: Path) -> dict[str, Any]:
    """Read a report that `--json` wrote.

    Raises:
        EvaluationError: The file cannot be read or is no report.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise EvaluationError(f"{path}: no valid JSON: {error}") from error
    if not isinstance(content, dict) or not {"task", "metrics", "resamples"} <= content.keys():
        raise EvaluationError(
            f"{path}: no report of `python -m eval`, or one of an older version; "
            "write it again with --json"
        )
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain values as a JSON file.

    Raises:
        EvaluationError: The file cannot be written.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be written: {error.strerror}") from error


def cell(estimate: Estimate | None) -> str:
    """An estimate for people."""
    if estimate is None:
        return "–"
    value, low, high = map(number, (estimate.value, estimate.low, estimate.high))
    return value if low == high else f"{value} ({low}–{high})"


def number(value: float) -> str:
    """A figure for people: the larger, the fewer decimals."""
    decimals = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{decimals}f}"


def plain(estimates: Estimates) -> dict[str, dict[str, float]]:
    """Estimates for a JSON file, without their resamples."""
    return {name: {"value": e.value, "low": e.low, "high": e.high} for name, e in estimates.items()}


def systems_table(title: str, systems: Mapping[str, Estimates]) -> Table:
    """Metrics in rows, systems in columns."""
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    for system in systems:
        table.add_column(system, justify="right")
    for name in dict.fromkeys(name for column in systems.values() for name in column):
        table.add_row(name, *(cell(column.get(name)) for column in systems.values()))
    return table


def _slices_table(dimension: str, parts: Mapping[str, Slice]) -> Table:
    table = Table(title=f"{ENGINE} by {dimension}", title_justify="left")
    table.add_column(dimension)
    table.add_column("n", justify="right")
    every = dict.fromkeys(name for part in parts.values() for name in part.metrics)
    names = list(every)[:SHOWN]
    for name in names:
        table.add_column(name, justify="right")
    for label, part in parts.items():
        table.add_row(label, str(part.n), *(cell(part.metrics.get(name)) for name in names))
    return table


def _confusion_table(confusion: dict[str, dict[str, int]]) -> Table:
    predicted = next(iter(confusion.values()))
    table = Table(title="confusion: gold in rows, predicted in columns", title_justify="left")
    table.add_column("gold")
    for label in predicted:
        table.add_column(label, justify="right")
    for label, row in confusion.items():
        table.add_row(label, *(str(count) for count in row.values()))
    return table
