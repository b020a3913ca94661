"""Score the engine against labelled rows: `python -m eval TASK FILE…`."""

from __future__ import annotations

import shlex
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import eval.engine
from eval.errors import EvaluationError
from eval.report import Report
from eval.rows import read_rows, sample_rows
from eval.tasks import TASKS, Level, Run
from extractor.errors import JobshiftError
from taxonomies.errors import TaxonomyError

TaskName = StrEnum("TaskName", list(TASKS))  # type: ignore[misc]

app = typer.Typer(add_completion=False)


@app.command()
def main(
    task: Annotated[TaskName, typer.Argument(metavar="TASK", help=f"One of {', '.join(TASKS)}.")],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="JSON Lines files of labelled rows.")
    ],
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write the report as JSON, too.")
    ] = None,
    taxonomy: Annotated[str, typer.Option(help="Name of an installed taxonomy.")] = "default",
    encoder: Annotated[str, typer.Option(help="Name of the sentence encoder.")] = "accurate",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Score a random sample of this many rows.")
    ] = None,
    level: Annotated[
        Level, typer.Option(help="Queries of linking: whole sentences or labelled spans.")
    ] = Level.sentence,
    cross_fit: Annotated[
        bool,
        typer.Option("--cross-fit", help="Of roles: fit the weights of the decision out of fold."),
    ] = False,
) -> None:
    """Score the engine on labelled rows, with 95 % intervals and a trivial baseline beside it."""
    try:
        report = evaluate(task, files, json_out, taxonomy, encoder, limit, level, cross_fit)
        try:
            if json_out:
                report.write(json_out)
        finally:
            report.print(Console())
    except (EvaluationError, JobshiftError, TaxonomyError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


def evaluate(
    task: str,
    files: list[Path],
    json_out: Path | None,
    taxonomy: str,
    encoder: str,
    limit: int | None,
    level: Level,
    cross_fit: bool = False,
) -> Report:
    """Read the rows, load the engine and run the task; the cheap checks come first.

    Raises:
        EvaluationError: A file, a row or an option cannot be used.
        JobshiftError: The engine cannot be loaded.
        TaxonomyError: The taxonomy is not installed.
    """
    if level is Level.span and task != "linking":
        raise EvaluationError(f"--level belongs to linking; {task} has no levels")
    if cross_fit and task != "roles":
        raise EvaluationError(f"--cross-fit belongs to roles; {task} has no weights to fit")
    if json_out and (json_out.is_dir() or not json_out.absolute().parent.is_dir()):
        raise EvaluationError(f"--json {json_out}: expected a file in a folder that exists")
    started = time.perf_counter()
    read = read_rows(files, TASKS[task].rows)
    rows = sample_rows(read, limit)
    status = Console(stderr=True).status
    with status("loading the engine"):
        loading = time.perf_counter()
        engine = eval.engine.load_engine(taxonomy, encoder)
        load_seconds = time.perf_counter() - loading
    with status(f"{task}: {len(rows)} rows"):
        outcome = TASKS[task].score(Run(engine, rows, level, load_seconds, cross_fit))
    if len(rows) < len(read):
        outcome.notes.append(f"a random sample of {len(rows)} of {len(read)} rows, fixed seed")
    return Report(
        task=str(task),
        files=files,
        command=shlex.join(["python", "-m", "eval", *sys.argv[1:]]),
        outcome=outcome,
        provenance=engine.provenance,
        seconds=time.perf_counter() - started,
    )


if __name__ == "__main__":
    app(prog_name="python -m eval")
