"""The table of all systems."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import taxonomies
from eval.errors import EvaluationError
from eval.metrics import CONFIDENCE, RESAMPLES, SEED
from eval.peers import PEERS, Inputs, Result, gains, run_all
from eval.report import hardware, pack, plain, sha256_of, systems_table, write_json
from eval.rows import ExtractionRow, Row, SpansRow, read_rows, sample_rows
from eval.tasks import ENGINE


def compare_peers(
    environments: Path,
    names: Sequence[str],
    files: Mapping[str, Sequence[Path]],
    *,
    taxonomy: str,
    encoder: str,
    limit: int | None,
    json_out: Path | None,
    logs: Path | None,
    command: str,
) -> None:
    """Measure all systems, show their table and write it as JSON.

    Args:
        environments: Folder with one virtual environment a system.
        names: Names in `PEERS`.
        files: Files under `linked`, `spans` and `ads`.
        taxonomy: The taxonomy that the gold speaks of.
        encoder: Our encoder.
        limit: Rows of each file; all if None.
        json_out: The JSON report.
        logs: Folder for what the systems print; a temporary one if None.
        command: What was called.

    Raises:
        EvaluationError: A name or a file cannot be used, or our own system cannot be run.
        TaxonomyError: The taxonomy is not installed.
    """
    unknown = sorted(set(names) - PEERS.keys())
    if unknown:
        raise EvaluationError(f"unknown system {unknown[0]!r}; known are {', '.join(PEERS)}")
    if not any(files.values()):
        raise EvaluationError("nothing to measure: give --linked, --spans or --ads")
    inputs = Inputs(
        taxonomies.load(taxonomy),
        {f.stem: sample_rows(read_rows([f], ExtractionRow), limit) for f in files["linked"]},
        {f.stem: sample_rows(read_rows([f], SpansRow), limit) for f in files["spans"]},
        sample_rows(read_rows(files["ads"], Row), limit),
    )
    folder = logs or Path(tempfile.mkdtemp(prefix="jobshift-peers-"))
    folder.mkdir(parents=True, exist_ok=True)
    with Console(stderr=True).status("running the systems one after the other"):
        results, missing = run_all(names, environments, inputs, encoder=encoder, logs=folder)
    console = Console()
    _print(console, results, missing)
    for line in (
        f"intervals: {CONFIDENCE:.0%} bootstrap, {RESAMPLES} resamples, seed {SEED}",
        f"what the systems printed: {folder}",
        command,
    ):
        console.print(line, markup=False, highlight=False, style="dim", soft_wrap=True)
    if json_out:
        paths = [path for group in files.values() for path in group]
        write_json(json_out, _content(results, missing, paths, inputs, command))


def _print(console: Console, results: Mapping[str, Result], missing: Sequence[str]) -> None:
    systems = {f"{name} {result.version}": result.estimates for name, result in results.items()}
    console.print(systems_table("side by side", systems))
    for name, result in results.items():
        lines = [*result.notes]
        if result.cannot:
            lines.append(f"cannot give {', '.join(result.cannot)}")
        if name != ENGINE:
            lines += [
                f"{metric}: {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) against "
                f"{ENGINE}, p = {gain.p:.3f}"
                for metric, gain in gains(result, results[ENGINE]).items()
                if metric.endswith(("/f1", "rp@5", "strict_f1"))
            ]
        for line in lines:
            console.print(f"{name}: {line}", markup=False, highlight=False, soft_wrap=True)
    for line in missing:
        console.print(f"skipped: {line}", markup=False, highlight=False, soft_wrap=True)


def _content(
    results: Mapping[str, Result],
    missing: Sequence[str],
    paths: Sequence[Path],
    inputs: Inputs,
    command: str,
) -> dict[str, Any]:
    ours = results[ENGINE]
    numbers = {name: len(rows) for name, rows in (*inputs.linked.items(), *inputs.spans.items())}
    return {
        "task": "peers",
        "system": ENGINE,
        "command": command,
        "taxonomy": inputs.taxonomy.name,
        "rows": numbers | {"ads": len(inputs.ads)},
        "data": {str(path): sha256_of(path) for path in paths},
        "hardware": hardware(),
        "metrics": plain(ours.estimates),
        "baselines": {
            name: plain(result.estimates) for name, result in results.items() if name != ENGINE
        },
        "resamples": {
            name: {metric: pack(estimate) for metric, estimate in result.estimates.items()}
            for name, result in results.items()
        },
        "gains": {
            name: {metric: gain._asdict() for metric, gain in gains(result, ours).items()}
            for name, result in results.items()
            if name != ENGINE
        },
        "versions": {name: result.version for name, result in results.items()},
        "notes": {name: result.notes for name, result in results.items()},
        "cannot": {name: result.cannot for name, result in results.items()},
        "missing": list(missing),
    }
