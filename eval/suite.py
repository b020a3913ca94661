"""All recorded figures again: `make eval` fails where one falls by more than the noise."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from eval import engine
from eval.metrics import Estimate, difference
from eval.pages import write_pages
from eval.report import Report, hardware, number, pack, plain, sha256_of, unpack, write_json
from eval.run import Options, evaluate
from eval.tasks import ENGINE
from taxonomies.errors import TaxonomyNotInstalledError

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
"""Labelled sets of others, beside the checkout; not ours to ship."""

OWN = ROOT / "tests" / "data"
BASELINES = Path(__file__).with_name("baselines.json")
RECORDED_RESAMPLES = 200
"""Resamples that are kept with a recorded figure, for the paired comparison."""

TOLERATED_SLOWDOWN = 0.5
"""Times vary with what else a machine does: only half the recorded speed counts as a fall."""

LOWER_IS_BETTER = {"must_not_violations", "concepts_per_empty_row", "employer_read_as_asking"}


DEFAULTS = Options()
ESCO = Options(taxonomy="esco-1.1.1")


@dataclass(frozen=True)
class Entry:
    """A run of the suite.

    Attributes:
        name: Its name, also that of its report.
        task: Name of the task.
        files: Files of labelled rows, below `folder`.
        bars: Metrics that must not fall.
        folder: `own` sets are part of the checkout, `shared` ones lie beside it.
        options: How the task is run.
    """

    name: str
    task: str
    files: tuple[str, ...]
    bars: tuple[str, ...]
    folder: str = "shared"
    options: Options = DEFAULTS

    def paths(self, shared: Path) -> list[Path]:
        """Its files, the shared ones below a folder."""
        return [(OWN if self.folder == "own" else shared) / file for file in self.files]

    @property
    def command(self) -> str:
        """The command that runs it alone."""
        given = ["--taxonomy", self.options.taxonomy]
        if self.options.limit:
            given += ["--limit", str(self.options.limit)]
        if self.options.cross_fit:
            given.append("--cross-fit")
        folder = "tests/data" if self.folder == "own" else "../shared/data"
        files = [f"{folder}/{file}" for file in self.files]
        return shlex.join(["python", "-m", "eval", self.task, *files, *given])


SUITE: tuple[Entry, ...] = (
    # First, so that no other run has warmed the engine's memory of sentences.
    Entry("speed", "speed", ("ads/ads.jsonl",), ("ads_per_s",), options=Options(limit=60)),
    Entry(
        "must-boilerplate",
        "must",
        ("boilerplate.jsonl",),
        ("concepts_per_empty_row",),
        "own",
    ),
    Entry(
        "must-homonyms",
        "must",
        ("homonyms.jsonl",),
        ("must_recall", "must_not_violations"),
        "own",
    ),
    Entry("requirement", "requirement", ("requirement.jsonl",), ("accuracy",), "own"),
    Entry(
        "roles-own",
        "roles",
        ("role_ads.jsonl", "role_pairs.jsonl", "role_pairs_untouched.jsonl"),
        ("accuracy", "macro_f1", "pairs_right"),
        "own",
    ),
    Entry(
        "must-challenge",
        "must",
        ("challenge/homonyms.jsonl", "challenge/boilerplate.jsonl"),
        ("must_not_violations", "concepts_per_empty_row"),
    ),
    Entry("requirement-challenge", "requirement", ("challenge/modality.jsonl",), ("accuracy",)),
    Entry(
        "roles-dev",
        "roles",
        ("roles/dev.jsonl",),
        ("accuracy", "macro_f1"),
        options=Options(cross_fit=True),
    ),
    Entry(
        "zones",
        "zones",
        ("ads/ads.jsonl",),
        ("accuracy/lines", "employer_read_as_asking"),
    ),
    Entry(
        "linking-house",
        "linking",
        ("esco-linking/house_validation.jsonl",),
        ("mrr", "rp@5"),
        options=ESCO,
    ),
    Entry(
        "linking-tech",
        "linking",
        ("esco-linking/tech_validation.jsonl",),
        ("mrr", "rp@5"),
        options=ESCO,
    ),
    Entry(
        "linking-skillskape",
        "linking",
        ("skillskape/dev.jsonl",),
        ("mrr", "rp@5"),
        options=Options(taxonomy="esco-1.1.1", limit=400),
    ),
    Entry(
        "extraction-house",
        "extraction",
        ("esco-linking/house_validation.jsonl",),
        ("f1",),
        options=ESCO,
    ),
    Entry(
        "extraction-tech",
        "extraction",
        ("esco-linking/tech_validation.jsonl",),
        ("f1",),
        options=ESCO,
    ),
    Entry(
        "spans-skillspan",
        "spans",
        ("skillspan/dev.jsonl",),
        ("strict_f1/SKILL", "strict_f1/KNOWLEDGE"),
        options=Options(taxonomy="esco-1.1.1", limit=800),
    ),
    Entry(
        "occupations-titles",
        "occupations",
        ("titles/jobbert_validation.jsonl",),
        ("mrr",),
        options=Options(taxonomy="esco-1.1.1", limit=500),
    ),
)


class Check(NamedTuple):
    """A figure beside the recorded one.

    Attributes:
        run: Name of the entry.
        metric: Name of the metric.
        recorded: Value that is recorded; None if none is.
        measured: Value of this run.
        failed: Why it counts as a fall, or why it cannot be compared; else empty.
        note: What else is to say.
    """

    run: str
    metric: str
    recorded: float | None
    measured: float
    failed: str = ""
    note: str = ""


@dataclass
class SuiteResult:
    """What the suite found.

    Attributes:
        reports: Reports by name of the entry.
        missing: What could not be run, and what is needed for it.
        checks: Every bar.
    """

    reports: dict[str, Report]
    missing: list[str]
    checks: list[Check]

    @property
    def has_failed(self) -> bool:
        """Whether any figure fell."""
        return any(check.failed for check in self.checks)


def run_suite(
    folder: Path,
    *,
    shared: Path = SHARED,
    only: Sequence[str] = (),
    baselines: Path = BASELINES,
    record: bool = False,
    say: Callable[[str], None] = lambda line: None,
    suite: Sequence[Entry] = SUITE,
) -> SuiteResult:
    """Run what can be run, write the reports, and compare the figures with the recorded ones.

    Args:
        folder: For the reports; made if it is not there.
        shared: Labelled sets of others.
        only: Names of entries; all if empty.
        baselines: The recorded figures.
        record: Record the figures of this run instead of comparing them.
        say: Told about each run.
        suite: The entries.

    Raises:
        EvaluationError: A row cannot be used, or a file cannot be written.
        JobshiftError: The engine cannot be loaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = read_baselines(baselines)
    load = functools.cache(engine.load_engine)
    result = SuiteResult({}, [], [])
    for entry in suite:
        if only and entry.name not in only:
            continue
        lacking = [f"there is no {path}" for path in entry.paths(shared) if not path.exists()]
        if not lacking:
            try:
                report = evaluate(
                    entry.task, entry.paths(shared), entry.options, entry.command, load=load
                )
            except TaxonomyNotInstalledError as error:
                lacking.append(str(error))
        if lacking:
            result.missing.append(f"{entry.name}: {lacking[0]}")
            say(f"missing   {entry.name}: {lacking[0]}")
            continue
        report.write(folder / f"{entry.name}.json")
        result.reports[entry.name] = report
        checks = [] if record else compare_with(entry, report, known.get(entry.name))
        result.checks += checks
        say(f"{report.seconds:6.0f} s  {entry.name}: " + _headline(entry, report))
    if record:
        known |= {
            entry.name: _record(entry, result.reports[entry.name])
            for entry in suite
            if entry.name in result.reports
        }
        write_json(baselines, known)
    if result.reports:
        write_pages(folder)
    return result


def read_baselines(path: Path = BASELINES) -> dict[str, Any]:
    """The recorded figures, by name of the entry; none if there is no file."""
    if not path.exists():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def compare_with(entry: Entry, report: Report, recorded: Mapping[str, Any] | None) -> list[Check]:
    """Compare the bars of a run with the recorded figures.

    A figure falls where the 95 % interval of its paired difference lies on the wrong side of 0.
    """
    found = report.outcome.systems[ENGINE]
    measured = {name: found[name] for name in entry.bars if name in found}
    if recorded is None:
        return [
            Check(entry.name, name, None, one.value, note="not recorded yet")
            for name, one in measured.items()
        ]
    checks = [
        Check(entry.name, name, recorded["metrics"][name]["value"], float("nan"), "not measured")
        for name in recorded["metrics"]
        if name not in measured
    ]
    if recorded["data"] != [sha256_of(path) for path in report.files]:
        reason = "the rows are others than the recorded ones; record again"
        return checks + [
            Check(entry.name, name, recorded["metrics"][name]["value"], one.value, reason)
            for name, one in measured.items()
        ]
    return checks + [
        _check(entry, name, estimate, recorded)
        for name, estimate in measured.items()
        if name in recorded["metrics"]
    ]


def _check(entry: Entry, name: str, measured: Estimate, recorded: Mapping[str, Any]) -> Check:
    was = unpack(recorded["metrics"][name], recorded["resamples"][name])
    if entry.task == "speed":
        machine = hardware()
        if recorded["hardware"] != machine:
            return Check(entry.name, name, was.value, measured.value, note="another machine")
        fell = measured.value < was.value * TOLERATED_SLOWDOWN
        return Check(entry.name, name, was.value, measured.value, "slower by half" if fell else "")
    now = unpack(plain({"": measured})[""], pack(measured, RECORDED_RESAMPLES))
    if now.drawn != was.drawn:
        return Check(
            entry.name, name, was.value, measured.value, "measured on other rows; record again"
        )
    gain = difference(now, was)
    fell = gain.low > 0 if name in LOWER_IS_BETTER else gain.high < 0
    bounds = f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
    return Check(
        entry.name, name, was.value, measured.value, f"fell: {bounds}" if fell else "", bounds
    )


def _record(entry: Entry, report: Report) -> dict[str, Any]:
    found = report.outcome.systems[ENGINE]
    bars = {name: found[name] for name in entry.bars if name in found}
    return {
        "command": entry.command,
        "n": report.outcome.n,
        "data": [sha256_of(path) for path in report.files],
        "metrics": plain(bars),
        "resamples": {name: pack(one, RECORDED_RESAMPLES) for name, one in bars.items()},
        "provenance": report.provenance.model_dump(),
        "hardware": hardware(),
    }


def _headline(entry: Entry, report: Report) -> str:
    found = report.outcome.systems[ENGINE]
    return ", ".join(f"{name} {number(found[name].value)}" for name in entry.bars if name in found)
