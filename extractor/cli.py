"""The command `jobshift`.

Exit status: 0 if all went well, 1 if a row of a batch had an error, 2 on bad usage or input that
cannot be read at all, 130 on Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from extractor.errors import InputFileError, JobshiftError
from taxonomies.errors import TaxonomyError

if TYPE_CHECKING:
    from extractor import SkillExtractor
    from extractor.batch import BatchSummary
    from taxonomies.records import Concept, Taxonomy

# What takes long to import (torch, spaCy, faiss, pyarrow) is imported by the command that needs it.

Taxonomy_ = Annotated[str, typer.Option("--taxonomy", help="Name of an installed taxonomy.")]
Encoder_ = Annotated[
    str,
    typer.Option("--encoder", help="accurate, fast, minilm, or a folder of sentence-transformers."),
]
SkillsOnly_ = Annotated[
    bool, typer.Option("--skills-only", help="Leave out duties, occupations and the role class.")
]
Json_ = Annotated[bool, typer.Option("--json", help="Write JSON.")]
LOG_SECONDS = 10.0
"""Least time between two events of progress."""

Top_ = Annotated[int, typer.Option("-k", min=1, help="How many concepts to show.")]


class _Engine(StrEnum):
    LOCAL = "local"
    RAY = "ray"


class _Commands(TyperGroup):
    """Turns what users can mend into a message and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (JobshiftError, TaxonomyError) as error:
            typer.echo(f"jobshift: {error}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("jobshift: interrupted", err=True)
            raise typer.Exit(130) from None
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                typer.echo(f"jobshift: {error}", err=True)  # standard output on a full disk
                raise typer.Exit(2) from None
            # The reader is gone (`| head`); what is still in the buffer has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Read job ads: which skills they ask for, and what machine learning does to the role.",
)
taxonomy_app = typer.Typer(no_args_is_help=True, help="Install and look into taxonomies.")
app.add_typer(taxonomy_app, name="taxonomy")


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # rather a "?" than a traceback
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jobshift {version('jobshift')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def extract(
    file: Annotated[
        str | None,
        typer.Argument(help="One ad in UTF-8: text, Markdown, or HTML if it ends in .html."),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Job title, where it stands apart from the text.")
    ] = None,
    taxonomy: Taxonomy_ = "default",
    encoder: Encoder_ = "accurate",
    skills_only: SkillsOnly_ = False,
    as_json: Json_ = False,
    html: Annotated[
        bool, typer.Option("--html", help="The ad is HTML, whatever the name of the file.")
    ] = False,
) -> None:
    """Read one ad and show its skills and its role class; - reads standard input."""
    from extractor import JobPosting
    from extractor.render import render_result

    text = _read_text(file)
    name = "ad" if file in (None, "-") else Path(str(file)).stem
    posting = (
        JobPosting.from_html(name, text, title=title)
        if html or str(file).lower().endswith((".html", ".htm"))
        else JobPosting(id=name, text=text, title=title)
    )
    posting.check()  # before the models are loaded
    result = _load_engine(taxonomy, encoder, skills_only=skills_only).extract(posting)
    if as_json:
        _write_json(result.model_dump(mode="json"))
    else:
        Console().print(render_result(result))


@app.command()
def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help=".jsonl, .csv (both also .gz or .zst) or .parquet, or a folder of them; "
            "with --engine ray also a URL.",
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help=".jsonl, .csv or .parquet; with --engine ray a folder or URL for Parquet files.",
        ),
    ],
    id_column: Annotated[str, typer.Option(help="Column of the id.")] = "id",
    text_column: Annotated[str, typer.Option(help="Column of the ad's text.")] = "text",
    html_column: Annotated[
        str | None, typer.Option(help="Column of the ad where that is HTML, instead of the text.")
    ] = None,
    title_column: Annotated[str, typer.Option(help="Column of the job title.")] = "title",
    date_column: Annotated[str, typer.Option(help="Column of the date.")] = "date",
    industry_column: Annotated[str, typer.Option(help="Column of the industry.")] = "industry",
    batch_size: Annotated[int, typer.Option(min=1, max=1024, help="Ads read at once.")] = 32,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes, each on one core; they share memory.")
    ] = 1,
    deduplicate: Annotated[
        bool, typer.Option("--deduplicate", help="Read ads that repeat an earlier one only once.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT, drop a stopped run.")
    ] = False,
    errors: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write rows with errors, as JSONL.")
    ] = None,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Report to standard error as JSON, one event a line.")
    ] = False,
    engine: Annotated[
        _Engine, typer.Option(help="Where it runs: this machine, or a Ray cluster.")
    ] = _Engine.LOCAL,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster, such as ray://head:10001 or auto.")
    ] = None,
    taxonomy: Taxonomy_ = "default",
    encoder: Encoder_ = "accurate",
    skills_only: SkillsOnly_ = False,
) -> None:
    """Read a file of ads and write one result a row."""
    from extractor.files import ColumnNames
    from extractor.render import render_summary

    columns = ColumnNames(
        id=id_column,
        text=text_column,
        html=html_column,
        title=title_column,
        date=date_column,
        industry=industry_column,
    )
    common: dict[str, Any] = {
        "columns": columns,
        "batch_size": batch_size,
        "resume": resume,
        "overwrite": overwrite,
    }
    if engine == _Engine.LOCAL:
        if address:
            raise typer.BadParameter("--address is that of a Ray cluster: add --engine ray")
        summary = _run_locally(
            Path(source),
            Path(target),
            taxonomy=taxonomy,
            encoder=encoder,
            skills_only=skills_only,
            workers=workers,
            log_json=log_json,
            errors=errors,
            deduplicate=deduplicate,
            **common,
        )
    else:
        if deduplicate:
            raise typer.BadParameter("--deduplicate needs --engine local")
        from extractor.cluster import run_on_ray

        summary = run_on_ray(
            source,
            target,
            taxonomy=taxonomy,
            encoder=encoder,
            skills_only=skills_only,
            workers=workers,
            address=address,
            errors=errors,
            **common,
        )
    if log_json:
        _log(event="end", **dataclasses.asdict(summary), ads_per_s=round(summary.ads_per_s, 3))
    else:
        Console(stderr=True).print(render_summary(summary))
        if summary.rows == 0:
            typer.echo(f"jobshift: {source} holds no rows", err=True)
        if summary.errors:
            hint = "" if errors else " (the column error says why; --errors FILE collects them)"
            typer.echo(f"jobshift: rows with errors: {summary.errors:,}{hint}", err=True)
    if summary.errors:
        raise typer.Exit(1)


def _run_locally(
    source: Path,
    target: Path,
    *,
    taxonomy: str,
    encoder: str,
    skills_only: bool,
    workers: int,
    log_json: bool,
    errors: Path | None,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> BatchSummary:
    from extractor.batch import check_targets, run_batch
    from extractor.files import read_postings

    # Before the models are loaded, so that a slip shows at once.
    check_targets(source, target, errors=errors, resume=resume, overwrite=overwrite)
    read_postings(source, columns=options["columns"])
    if workers > 1:
        # Threads that libraries start while they load would not survive the fork.
        os.environ["OMP_NUM_THREADS"] = "1"
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    extractor = _load_engine(taxonomy, encoder, skills_only=skills_only)
    if log_json:
        _log(event="start", provenance=extractor.provenance.model_dump())
    try:
        with _log_progress() if log_json else _progress("reading ads") as progress:
            return run_batch(
                extractor,
                source,
                target,
                workers=workers,
                errors=errors,
                resume=resume,
                overwrite=overwrite,
                progress=progress,
                **options,
            )
    except KeyboardInterrupt:
        if log_json:
            _log(event="interrupted")
        else:
            typer.echo(
                "jobshift: interrupted; what is done is kept. To go on, "
                "give the same command with --resume (and without --overwrite)",
                err=True,
            )
        raise typer.Exit(130) from None


@app.command()
def link(
    text: Annotated[str, typer.Argument(help="A phrase or a sentence.")],
    k: Top_ = 10,
    taxonomy: Taxonomy_ = "default",
    encoder: Encoder_ = "accurate",
    as_json: Json_ = False,
) -> None:
    """Show the concepts that a phrase or sentence may mean."""
    from extractor.render import render_candidates

    if not text.strip():
        raise typer.BadParameter("the text is empty; give a phrase or a sentence")
    (candidates,) = _load_engine(taxonomy, encoder).link_batch([text], k=k)
    if as_json:
        _write_json([candidate.model_dump(mode="json") for candidate in candidates])
    else:
        Console().print(render_candidates(candidates))


@taxonomy_app.command("list")
def list_taxonomies() -> None:
    """List the taxonomies that are installed or can be."""
    import taxonomies

    installed = taxonomies.installed()
    for about in installed:
        concepts = f"{sum(about.counts.values()):,} concepts"
        typer.echo(f"{about.name:20} {about.version:20} {about.language:4} {concepts}")
    for name in taxonomies.available():
        if name not in {about.name for about in installed}:
            typer.echo(f"{name:20} not installed: jobshift taxonomy install {name}")


@taxonomy_app.command()
def install(
    name: Annotated[str, typer.Argument(help="Name to install it under.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Download of ESCO, O*NET, or own file."),
    ] = None,
    encoder: Encoder_ = "accurate",
) -> None:
    """Download or read a taxonomy, compile it and encode its names."""
    import taxonomies
    from extractor.index import build_index

    console = Console(stderr=True, markup=False, highlight=False)
    with console.status(f"installing {name}"):
        taxonomies.install(name, source=source, progress=console.print)
    with _progress("encoding names") as progress:
        build_index(name, encoder=encoder, progress=progress)
    typer.echo(f"{name} is installed in {taxonomies.folder(name)}")


@taxonomy_app.command()
def info(
    name: Annotated[str, typer.Argument(help="Name of an installed taxonomy.")] = "default",
) -> None:
    """Show what an installed taxonomy holds and who publishes it."""
    import taxonomies

    about = taxonomies.manifest(name)
    for label, value in (
        ("name", about.name),
        ("version", about.version),
        ("language", about.language),
        ("concepts", f"{sum(about.counts.values()):,}"),
        *((f"  {kind}", f"{count:,}") for kind, count in about.counts.items()),
        ("relations", f"{sum(about.relations.values()):,}"),
        *((f"  {kind}", f"{count:,}") for kind, count in about.relations.items()),
        ("sha256", about.sha256),
        ("folder", taxonomies.folder(name)),
    ):
        typer.echo(f"{label:12} {value}")
    if about.licence:
        typer.echo(f"\n{about.licence}")


@taxonomy_app.command()
def search(
    text: Annotated[str, typer.Argument(help="Words of a name, or their beginnings.")],
    k: Top_ = 10,
    taxonomy: Taxonomy_ = "default",
) -> None:
    """Find concepts by their names (`jobshift link` finds them by meaning)."""
    import taxonomies

    found = _find_concepts(taxonomies.load(taxonomy), text)[:k]
    for concept, name in found:
        other = "" if name == concept.label else f"  ({name})"
        typer.echo(f"{concept.kind:10} {concept.label}{other}\n{'':10} {concept.id}")
    if not found:
        typer.echo(f"No concept of {taxonomy} has a name with {text!r}", err=True)


@taxonomy_app.command()
def remove(name: Annotated[str, typer.Argument(help="Name of an installed taxonomy.")]) -> None:
    """Delete an installed taxonomy and its index."""
    import taxonomies

    taxonomies.remove(name)
    typer.echo(f"{name} is removed")


def _find_concepts(taxonomy: Taxonomy, text: str) -> list[tuple[Concept, str]]:
    """Concepts with the name that fits: exact ones first, then labels, then the shortest."""
    wanted = text.casefold().split()
    found: list[tuple[tuple[bool, bool, int], Concept, str]] = []
    for concept in taxonomy.concepts if wanted else ():
        fitting = []
        for name in concept.names:
            words = name.casefold().split()
            if all(any(word.startswith(part) for word in words) for part in wanted):
                rank = (words != wanted, name != concept.label, len(name))
                fitting.append((rank, concept, name))
        if fitting:
            found.append(min(fitting, key=lambda item: item[0]))
    found.sort(key=lambda item: item[0])
    return [(concept, name) for _, concept, name in found]


def _load_engine(taxonomy: str, encoder: str, *, skills_only: bool = False) -> SkillExtractor:
    """Load the engine.

    What is loaded stays until the command ends, so the garbage collector is spared looking through
    it time and again: a fifth of the time of a command for one ad.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        from extractor import SkillExtractor

        return SkillExtractor.load(taxonomy, encoder=encoder, skills_only=skills_only)
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _read_text(file: str | None) -> str:
    if file is None and sys.stdin.isatty():
        raise typer.BadParameter("name a file with one ad, or - to read it from standard input")
    if file in (None, "-"):
        shown, content = "standard input", sys.stdin.buffer.read()
    else:
        path = Path(str(file))
        shown = str(path)
        if path.suffix.lower() in (".jsonl", ".csv", ".parquet"):
            raise InputFileError(f"{path} looks like a file of many ads: use `jobshift batch`")
        try:
            content = path.read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputFileError(f"{shown} cannot be read: {reason}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputFileError(
            f"{shown} is not UTF-8 text (byte 0x{content[error.start]:02X} at {error.start}); "
            "convert it to plain text in UTF-8"
        ) from error


def _write_json(value: object) -> None:
    # As bytes: JSON is UTF-8 whatever the terminal speaks.
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2).encode())


@contextmanager
def _progress(task: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, silent where that is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.finished_speed or task.speed or 0.0:,.1f}/s")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=300,
    ) as bar:
        shown = bar.add_task(task, total=None)

        def update(done: int, total: int) -> None:
            if bar.tasks[shown].total is None:
                # What an earlier run has done is no part of the rate of this one.
                bar.reset(shown, completed=done, total=total)
            bar.update(shown, completed=done)

        yield update


@contextmanager
def _log_progress() -> Iterator[Callable[[int, int], None]]:
    """Progress as events, one in ten seconds at most."""
    start = latest = time.monotonic()
    first: int | None = None

    def update(done: int, total: int) -> None:
        nonlocal first, latest
        if first is None:
            first = done
        now = time.monotonic()
        if now - latest < LOG_SECONDS and done < total:
            return
        latest = now
        rate = (done - first) / (now - start) if done > first else None
        _log(
            event="progress",
            rows=done,
            total=total,
            ads_per_s=rate and round(rate, 3),
            seconds_left=rate and round((total - done) / rate),
        )

    yield update


def _log(**event: object) -> None:
    event = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **event}
    typer.echo(json.dumps(event), err=True)
