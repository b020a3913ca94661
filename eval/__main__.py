"""The evaluation on the command line: `python -m eval COMMAND …`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import taxonomies
from eval import engine
from eval.beir import write_corpus, write_folder
from eval.cases import write_cases
from eval.comparison import compare, table
from eval.datasets import DATASETS, convert, write_rows
from eval.errors import EvaluationError
from eval.metrics import CONFIDENCE, RESAMPLES
from eval.pages import write_pages
from eval.peers import PEERS
from eval.peers.report import compare_peers
from eval.report import cell, write_json
from eval.rows import ExtractionRow, LinkingRow, SpansRow, read_rows
from eval.run import Options, evaluate
from eval.suite import SHARED, SUITE, run_suite
from eval.tasks import TASKS, Level
from eval.tuning import LOWEST, settings, tune
from extractor.encoders import own_encoder
from extractor.errors import JobshiftError
from extractor.linker import LinkerModel
from taxonomies.errors import TaxonomyError

app = typer.Typer(add_completion=False, help="Score the engine, and others, on labelled rows.")

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE…", help="JSON Lines files of labelled rows.")
]


@contextmanager
def _reported() -> Iterator[None]:
    """Ends with status 2 and a message where something given cannot be used."""
    try:
        yield
    except (EvaluationError, JobshiftError, TaxonomyError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


def _command(task: str) -> Callable[..., None]:
    def run(
        files: Files,
        json_out: Annotated[
            Path | None,
            typer.Option("--json", metavar="OUT", help="Write the report as JSON, too."),
        ] = None,
        errors: Annotated[
            Path | None,
            typer.Option(
                metavar="OUT",
                help="Write the worst cases as JSON Lines, and beside them as a page.",
            ),
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
            typer.Option(
                "--cross-fit", help="Of roles: fit the weights of the decision out of fold."
            ),
        ] = False,
        threshold: Annotated[
            float | None,
            typer.Option(metavar="P", help="Return concepts from this probability on."),
        ] = None,
        slices: Annotated[
            bool, typer.Option("--slices", help="Show the figures of every slice.")
        ] = False,
        train: Annotated[
            list[Path] | None,
            typer.Option(
                metavar="FILE",
                help="Linked rows trained on: slice by how often a concept was seen.",
            ),
        ] = None,
    ) -> None:
        with _reported():
            for name, out in (("--json", json_out), ("--errors", errors)):
                if out and (out.is_dir() or not out.absolute().parent.is_dir()):
                    raise EvaluationError(f"{name} {out}: expected a file in a folder that exists")
            if threshold is not None and not 0 < threshold <= 1:
                raise EvaluationError(f"--threshold {threshold}: expected a number in (0, 1]")
            options = Options(taxonomy, encoder, limit, level, cross_fit, train or (), threshold)
            report = evaluate(task, files, options, _command_line())
            try:
                if json_out:
                    report.write(json_out)
                if errors:
                    write_cases(errors, task, report.outcome.cases, report.command)
            finally:
                report.print(Console(), slices=slices)

    run.__doc__ = TASKS[task].score.__doc__
    return run


for _task in TASKS:
    app.command(_task)(_command(_task))


@app.command("compare")
def compare_command(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="Report that --json wrote.")],
    second: Annotated[
        Path, typer.Argument(metavar="B.json", help="Report of the same task and rows.")
    ],
    first_system: Annotated[
        str | None, typer.Option(metavar="NAME", help="System of A, such as a baseline.")
    ] = None,
    second_system: Annotated[
        str | None, typer.Option(metavar="NAME", help="System of B, such as a baseline.")
    ] = None,
) -> None:
    """Compare two runs on the same rows by paired bootstrap; * marks p < .05."""
    with _reported():
        compared = compare(first, second, (first_system, second_system))
        names = (
            f"{path}{f' [{system}]' if system else ''}"
            for path, system in ((first, first_system), (second, second_system))
        )
        console = Console()
        console.print(table("second minus first", compared))
        for place, name in zip(("first", "second"), names, strict=True):
            console.print(f"{place}: {name}", markup=False, highlight=False, soft_wrap=True)
        console.print(
            f"gain: {CONFIDENCE:.0%} interval of the paired bootstrap, {RESAMPLES} resamples; "
            "p is two-sided and not corrected for the number of metrics",
            style="dim",
        )


@app.command("list")
def list_command() -> None:
    """Show every labelled set and format that the project knows."""
    for name, dataset in DATASETS.items():
        typer.echo(f"{name}: {dataset.task}; {dataset.size}; licence: {dataset.licence}")
        typer.echo(f"    from {dataset.source}")
        if dataset.read:
            taxonomy = " --taxonomy esco-1.1.1" if dataset.needs_taxonomy else ""
            typer.echo(f"    {dataset.files}")
            typer.echo(f"    python -m eval convert {name} FILE… --out rows.jsonl{taxonomy}")


@app.command("convert")
def convert_command(
    name: Annotated[str, typer.Argument(metavar="SET", help="A name that `list` shows.")],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Files, or the folder, as published.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The JSON Lines file of rows.")],
    taxonomy: Annotated[
        str | None, typer.Option(help="Installed taxonomy in which labels are looked up.")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Of beir: write the corpus as a taxonomy to install."),
    ] = None,
) -> None:
    """Convert a labelled set as published, or labels of your own, into rows."""
    with _reported():
        rows = convert(name, files, taxonomies.load(taxonomy) if taxonomy else None)
        write_rows(out, rows)
        if corpus:
            if name != "beir":
                raise EvaluationError(f"--corpus belongs to beir; {name} has no corpus")
            write_corpus(corpus, files[0])
        links = [link for row in rows for link in row.get("links") or ()]
        missing = sum(link["uri"] is None for link in links)
        spans = sum(len(row.get("spans") or ()) for row in rows)
        typer.echo(f"{out}: {len(rows)} rows, {len(links)} links, {spans} spans")
        if missing:
            typer.echo(f"{missing} links have no concept: labels that are none, or are not found")


@app.command("beir")
def beir_command(
    files: Files,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    taxonomy: Annotated[str, typer.Option(help="Its skill concepts are the corpus.")] = "default",
    split: Annotated[str, typer.Option(help="Name of the file of judgements.")] = "test",
) -> None:
    """Write linked rows as a BEIR folder: corpus, queries and qrels."""
    with _reported():
        rows = read_rows(files, LinkingRow)
        count = write_folder(out, rows, taxonomies.load(taxonomy), split=split)
        typer.echo(f"{out}: {count} queries of {len(rows)} rows")


@app.command("peers")
def peers_command(
    environments: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of virtual environments, one a system.")
    ] = Path(".peers"),
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only these systems; all by default.")
    ] = None,
    linked: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Rows with gold concepts.")
    ] = None,
    spans: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Rows with gold spans.")
    ] = None,
    ads: Annotated[Path | None, typer.Option(metavar="FILE", help="Ads, for speed.")] = None,
    taxonomy: Annotated[
        str, typer.Option(help="The taxonomy that the gold speaks of.")
    ] = "default",
    encoder: Annotated[str, typer.Option(help="Name of our sentence encoder.")] = "accurate",
    limit: Annotated[
        int | None, typer.Option(min=1, help="A random sample of so many rows of each file.")
    ] = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write the report as JSON, too.")
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for what the systems print.")
    ] = None,
) -> None:
    """Measure this and other systems on the same rows, each in its own environment."""
    with _reported():
        compare_peers(
            environments,
            only or list(PEERS),
            {"linked": linked or [], "spans": spans or [], "ads": [ads] if ads else []},
            taxonomy=taxonomy,
            encoder=encoder,
            limit=limit,
            json_out=json_out,
            logs=logs,
            command=_command_line(),
        )


@app.command("report")
def report_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of --json reports.")],
) -> None:
    """Join the reports of a folder into report.md and report.html, with plots."""
    with _reported():
        for path in write_pages(folder):
            typer.echo(path)


@app.command("tune")
def tune_command(
    files: Files,
    out: Annotated[Path, typer.Option(metavar="JSON", help="The configuration to save.")],
    taxonomy: Annotated[str, typer.Option(help="Taxonomy that the labels speak of.")] = "default",
    encoder: Annotated[str, typer.Option(help="Name of the sentence encoder.")] = "accurate",
) -> None:
    """Tune thresholds on labels of your own, by cross-validation, and save them."""
    with _reported():
        rows = read_rows(files, ExtractionRow)
        linked = [row for row in rows if row.links is not None]
        spans = read_rows(files, SpansRow) if any(row.spans for row in rows) else []
        shipped = LinkerModel.load(own_encoder(encoder)).threshold
        loaded = engine.load_engine(taxonomy, encoder, LOWEST)
        tuned = tune(linked, spans, loaded, shipped)
        content = settings(
            tuned, taxonomy=taxonomy, encoder=encoder, files=files, command=_command_line()
        )
        write_json(out, content)
    for name, one in tuned.items():
        typer.echo(
            f"{name}: threshold {one.threshold:g} (shipped: {one.shipped:g}); F1 on ads not seen "
            f"{cell(one.after)}, before {cell(one.before)}; gain {one.gain.value:+.3f} "
            f"({one.gain.low:+.3f} to {one.gain.high:+.3f}), p = {one.gain.p:.3f}"
        )
        if one.gain.low <= 0:
            typer.echo(f"{name}: no gain beyond chance; label more ads or keep the shipped one")
    typer.echo(f"saved: {out}")


@app.command("suite")
def suite_command(
    out: Annotated[Path, typer.Option(metavar="RUN_DIR", help="Folder for the reports.")] = Path(
        "runs/eval"
    ),
    shared: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the labelled sets of others.")
    ] = SHARED,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only these runs; all by default.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Record the figures instead of comparing them.")
    ] = False,
) -> None:
    """Run every recorded evaluation; status 1 if a figure falls by more than the noise."""
    unknown = sorted(set(only or ()) - {entry.name for entry in SUITE})
    with _reported():
        if unknown:
            names = ", ".join(entry.name for entry in SUITE)
            raise EvaluationError(f"unknown run {unknown[0]!r}; known are {names}")
        result = run_suite(out, shared=shared, only=only or (), record=record, say=typer.echo)
    for check in result.checks:
        was = "none" if check.recorded is None else f"{check.recorded:.3f}"
        verdict = f"FAILED: {check.failed}" if check.failed else check.note or "ok"
        typer.echo(f"{check.run} {check.metric}: {check.measured:.3f}, recorded {was}; {verdict}")
    for line in result.missing:
        typer.echo(f"missing: {line}")
    if result.reports:
        typer.echo(f"{len(result.reports)} runs, {len(result.missing)} missing: {out}/report.html")
    if result.has_failed:
        raise typer.Exit(1)


def _command_line() -> str:
    return shlex.join(["python", "-m", "eval", *sys.argv[1:]])


if __name__ == "__main__":
    app(prog_name="python -m eval")
