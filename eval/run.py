"""One run: rows, engine, task, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from eval import engine
from eval.engine import Engine
from eval.errors import EvaluationError
from eval.report import Report
from eval.rows import LinkingRow, read_rows, sample_rows
from eval.tasks import TASKS, Level, Run


@dataclass(frozen=True)
class Options:
    """How a task is run.

    Attributes:
        taxonomy: Name of an installed taxonomy.
        encoder: Name of the sentence encoder.
        limit: Score a random sample of this many rows; all if None.
        level: Queries of `linking`.
        cross_fit: Of `roles`: fit the weights of the decision out of fold.
        train: Files of linked rows that the engine was trained on.
        threshold: Probability from which on concepts are returned; the shipped one if None.
    """

    taxonomy: str = "default"
    encoder: str = "accurate"
    limit: int | None = None
    level: Level = Level.sentence
    cross_fit: bool = False
    train: Sequence[Path] = ()
    threshold: float | None = None


def evaluate(
    task: str,
    files: Sequence[Path],
    options: Options,
    command: str,
    *,
    load: Callable[[str, str, float | None], Engine] | None = None,
) -> Report:
    """Read the rows, load the engine and run the task; the cheap checks come first.

    Args:
        task: Name of the task.
        files: Files of labelled rows.
        options: How it is run.
        command: The command line that gives the report.
        load: Gives the engine of a taxonomy, an encoder and a threshold; the one that users load
            if None.

    Raises:
        EvaluationError: A file, a row or an option cannot be used.
        JobshiftError: The engine cannot be loaded.
        TaxonomyError: The taxonomy is not installed.
    """
    if options.level is Level.span and task != "linking":
        raise EvaluationError(f"--level belongs to linking; {task} has no levels")
    if options.cross_fit and task != "roles":
        raise EvaluationError(f"--cross-fit belongs to roles; {task} has no weights to fit")
    started = time.perf_counter()
    read = read_rows(files, TASKS[task].rows)
    training = read_rows(options.train, LinkingRow)
    rows = sample_rows(read, options.limit)
    status = Console(stderr=True).status
    with status("loading the engine"):
        loading = time.perf_counter()
        loaded = (load or engine.load_engine)(options.taxonomy, options.encoder, options.threshold)
        load_seconds = time.perf_counter() - loading
    with status(f"{task}: {len(rows)} rows"):
        run = Run(loaded, rows, options.level, load_seconds, options.cross_fit, training)
        outcome = TASKS[task].score(run)
    if len(rows) < len(read):
        outcome.notes.append(f"a random sample of {len(rows)} of {len(read)} rows, fixed seed")
    return Report(
        task=task,
        files=files,
        command=command,
        outcome=outcome,
        provenance=loaded.provenance,
        seconds=time.perf_counter() - started,
    )
