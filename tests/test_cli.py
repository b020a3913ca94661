import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_extractor import CANDIDATE, FakeExtractor
from rich.console import Console
from typer.testing import CliRunner

import extractor
import extractor.index
import taxonomies
from extractor.cli import app
from extractor.errors import ArtefactError
from extractor.files import read_results
from extractor.records import (
    Evidence,
    JobResult,
    OccupationMatch,
    Provenance,
    RoleAssessment,
    Skill,
    SkillMatch,
)
from extractor.render import render_result

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(monkeypatch):
    # Set in the dict, since the package may load the real engine on access.
    monkeypatch.setitem(extractor.__dict__, "SkillExtractor", FakeExtractor)

    def invoke(*arguments, **options):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], **options)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def ad(tmp_path):
    path = tmp_path / "ad.txt"
    path.write_bytes("\ufeffWe need Python, café\r\nand more".encode())
    return path


def in_new_process(*arguments, **options):
    code = "from extractor.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        cwd=ROOT,
        check=False,
        **options,
    )


def test_extract_is_readable(run, ad):
    result = run("extract", ad)
    assert result.exit_code == 0
    for words in ("ML-augmented", "p = 0.62", "Required skills (1)", "Python", "[8–14]", "analyst"):
        assert words in result.stdout


def test_extract_writes_json(run, ad):
    result = run("extract", ad, "--json", "--title", "Engineer")
    record = JobResult.model_validate_json(result.stdout)
    assert record.id == "ad"
    assert record.skills[0].matches[0].start == 8


def test_extract_reads_html(run, tmp_path):
    page = tmp_path / "ad.html"
    page.write_text("<title>x</title><p>Python &amp; SQL")
    for arguments in (["extract", page], ["extract", "-", "--html"]):
        result = run(*arguments, "--json", input=page.read_text())
        record = JobResult.model_validate_json(result.stdout)
        assert record.skills[0].matches[0].start == 0
        assert record.zones[0].end == len("Python & SQL")


@pytest.mark.parametrize("arguments", [["extract", "-"], ["extract"]])
def test_extract_reads_standard_input(run, arguments):
    result = run(*arguments, "--json", input="Python")
    assert JobResult.model_validate_json(result.stdout).skills[0].label == "Python"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the text is empty"),
        (b" \n\t", "the text is empty"),
        (b"caf\xe9", "not UTF-8 text (byte 0xE9 at 3)"),
        (b"%PDF-1.7 \xff\xfe", "not UTF-8"),
        (b"x" * 1_000_000, "the limit is 100,000"),
        ("Python".encode("utf-16"), "not UTF-8"),
    ],
)
def test_extract_refuses_bad_text(run, tmp_path, content, why):
    path = tmp_path / "ad.txt"
    path.write_bytes(content)
    for options in ([path], ["-"]):
        result = run("extract", *options, input=content)
        assert result.exit_code == 2
        assert why in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize("content", [b"a\x00b Python", b"<p>Python &amp; R</p>", b"\x1b[31mPython"])
def test_extract_reads_odd_text(run, content):
    result = run("extract", "-", input=content)
    assert result.exit_code == 0
    assert "Python" in result.stdout
    assert "\x1b[31m" not in result.stdout


def test_extract_refuses_bad_files(run, tmp_path):
    for name, why in (
        ("none.txt", "No such file"),
        (".", "directory"),
        ("ads.csv", "jobshift batch"),
    ):
        result = run("extract", tmp_path / name)
        assert result.exit_code == 2
        assert why in result.stderr


def test_missing_parts_are_said_plainly(run, ad, monkeypatch):
    def load(*_, **__):
        raise ArtefactError("no index; run jobshift taxonomy install default")

    monkeypatch.setattr(FakeExtractor, "load", load)
    result = run("extract", ad)
    assert result.exit_code == 2
    assert result.stderr == "jobshift: no index; run jobshift taxonomy install default\n"


@pytest.mark.parametrize("command", ["extract", "batch"])
def test_skills_only_is_passed_on(run, ad, ads, tmp_path, monkeypatch, command):
    given = []
    load = FakeExtractor.load

    def remembered(*arguments, **options):
        given.append(options["skills_only"])
        return load(*arguments, **options)

    monkeypatch.setattr(FakeExtractor, "load", remembered)
    files = [ad] if command == "extract" else [ads, tmp_path / "out.jsonl"]
    assert run(command, *files, "--skills-only").exit_code == 0
    assert given == [True]


@pytest.fixture
def ads(tmp_path):
    path = tmp_path / "ads.jsonl"
    path.write_text('{"id": "a", "text": "Python"}\n{"id": "b", "text": "Cook"}\n')
    return path


def test_batch(run, ads, tmp_path):
    result = run("batch", ads, tmp_path / "out.parquet")
    assert result.exit_code == 0
    assert "ML-augmented 2" in result.stderr
    assert "peak memory" in result.stderr
    assert [row.id for row in read_results(tmp_path / "out.parquet")] == ["a", "b"]


def test_batch_with_bad_rows_ends_with_1(run, tmp_path):
    result = run(
        "batch",
        ROOT / "examples" / "ads.jsonl",
        tmp_path / "out.csv",
        "--errors",
        tmp_path / "errors.jsonl",
    )
    assert result.exit_code == 1
    assert "rows with errors: 1" in result.stderr
    (error,) = read_results(tmp_path / "errors.jsonl")
    assert (error.id, error.row) == ("broken-3", 3)


def test_batch_by_column_names(run, tmp_path):
    path = tmp_path / "ads.csv"
    path.write_text("nr,body\n1,Python\n")
    result = run("batch", path, tmp_path / "out.jsonl")
    assert result.exit_code == 2
    assert "columns found: 'nr', 'body'" in result.stderr
    assert "--text-column" in result.stderr
    result = run(
        "batch", path, tmp_path / "out.jsonl", "--text-column", "body", "--id-column", "nr"
    )
    assert result.exit_code == 0
    assert [row.id for row in read_results(tmp_path / "out.jsonl")] == ["1"]


def test_batch_refuses_before_the_engine_is_loaded(run, ads, tmp_path, monkeypatch):
    monkeypatch.setattr(FakeExtractor, "load", None)
    (tmp_path / "there.jsonl").write_text("")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    for source, target, why in (
        (ads, "there.jsonl", "--overwrite"),
        (ads, "out.txt", "unknown suffix"),
        (tmp_path / "cut.parquet", "out.jsonl", "cut off or damaged"),
        (tmp_path / "none.csv", "out.jsonl", "does not exist"),
        (tmp_path, "out.jsonl", "lies in the folder of the input"),
    ):
        result = run("batch", source, tmp_path / target)
        assert result.exit_code == 2
        assert why in result.stderr


def test_batch_interrupted_says_how_to_go_on(run, ads, tmp_path, monkeypatch):
    def load(*_, **__):
        return FakeExtractor(fail_at=1, failure=KeyboardInterrupt())

    with monkeypatch.context() as patch:
        patch.setattr(FakeExtractor, "load", load)
        result = run("batch", ads, tmp_path / "out.jsonl", "--batch-size", 1)
    assert result.exit_code == 130
    assert "--resume" in result.stderr

    result = run("batch", ads, tmp_path / "out.jsonl", "--resume")
    assert result.exit_code == 0
    assert "1 of them by an earlier run" in result.stderr


def test_batch_logs_json(run, ads, tmp_path, monkeypatch):
    monkeypatch.setattr("extractor.cli.LOG_SECONDS", 0.0)
    result = run("batch", ads, tmp_path / "out.jsonl", "--log-json", "--deduplicate")
    assert result.exit_code == 0
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert [event["event"] for event in events] == ["start", "progress", "progress", "end"]
    assert events[0]["provenance"]["taxonomy"] == "mini"
    assert (events[2]["rows"], events[2]["total"], events[2]["seconds_left"]) == (2, 2, 0)
    assert (events[3]["rows"], events[3]["errors"], events[3]["roles"]) == (2, 0, {"augmented": 2})
    assert all(event["time"].endswith("+00:00") for event in events)


def test_batch_is_quiet_where_nobody_looks(run, ads, tmp_path):
    result = run("batch", ads, tmp_path / "out.jsonl", "--workers", 2)
    assert result.stdout == ""
    assert "reading ads" not in result.stderr
    assert "\x1b" not in result.stderr


def test_batch_refuses_options_that_do_not_go_together(run, ads, tmp_path):
    for options, why in (
        (["--address", "auto"], "--engine ray"),
        (["--engine", "ray", "--deduplicate"], "--engine local"),
        (["--engine", "spark"], "'spark'"),
        (["--workers", "0"], "equal to 1"),
        (["--batch-size", "100000"], "equal to 1024"),
    ):
        result = run("batch", ads, tmp_path / "out.jsonl", *options)
        assert result.exit_code == 2
        assert why in result.stderr


def test_link(run):
    result = run("link", "writes Python")
    assert "0.90" in result.stdout
    assert "mini:py" in result.stdout
    result = run("link", "writes Python", "--json", "-k", 1)
    assert json.loads(result.stdout) == [CANDIDATE.model_dump()]
    assert run("link", " ").exit_code == 2
    assert run("link", "x", "-k", 0).exit_code == 2


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "mine.csv"
    source.write_text(
        "id,label,alt_labels\n"
        "m:1,data quality assessment,quality of data\n"
        "m:2,data,\n"
        "m:3,manage data,\n"
        "m:4,cook soup,make broth\n"
    )
    return source


def test_taxonomy_commands(run, cache, monkeypatch):
    built = []
    monkeypatch.setattr(
        extractor.index, "build_index", lambda name, *, encoder, progress: built.append(name)
    )
    assert "default" in run("taxonomy", "list").stdout

    result = run("taxonomy", "install", "mine", "--from", cache)
    assert result.exit_code == 0
    assert built == ["mine"]
    assert str(taxonomies.folder("mine")) in result.stdout.replace("\n", "")

    assert "4 concepts" in run("taxonomy", "list").stdout
    info = run("taxonomy", "info", "mine").stdout
    assert "concepts     4" in info
    assert taxonomies.load("mine").sha256 in info

    found = run("taxonomy", "search", "data", "--taxonomy", "mine").stdout
    assert [line.strip() for line in found.splitlines() if line.startswith(" ")] == [
        "m:2",
        "m:3",
        "m:1",
    ]
    assert (
        "cook soup  (make broth)"
        in run("taxonomy", "search", "Bro mak", "--taxonomy", "mine").stdout
    )
    nothing = run("taxonomy", "search", "zebra", "--taxonomy", "mine")
    assert "'zebra'" in nothing.stderr

    assert run("taxonomy", "remove", "mine").exit_code == 0
    for command in ("info", "remove"):
        result = run("taxonomy", command, "mine")
        assert result.exit_code == 2
        assert "'mine' is not installed" in result.stderr


def test_taxonomy_install_refuses(run, cache, tmp_path):
    for arguments, why in (
        (["mine"], "--from"),
        (["mine", "--from", tmp_path / "none.csv"], "none.csv"),
        (["../x", "--from", cache], "no name for a taxonomy"),
    ):
        result = run("taxonomy", "install", *arguments)
        assert result.exit_code == 2
        assert why in result.stderr


def test_version_and_usage(run):
    assert run("--version").stdout.startswith("jobshift ")
    assert run("nonsense").exit_code == 2
    assert run("batch", "one.jsonl").exit_code == 2


def test_help_is_quick_and_loads_no_model():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert in_new_process("--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2  # 0.4 on an idle machine
    code = (
        "import sys, extractor.cli; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'spacy', 'faiss')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_closed_pipe_is_quiet(cache):
    rows = "".join(f"m:{n},data {n},\n" for n in range(5, 20_000))
    cache.write_text(cache.read_text() + rows)
    taxonomies.install("mine", source=cache)
    code = "from extractor.cli import main; main()"
    command = ["taxonomy", "search", "data", "--taxonomy", "mine", "-k", "100000"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_terminal_without_unicode(cache):
    cache.write_text("id,label,alt_labels\nm:1,łąka,\n", encoding="utf-8")
    taxonomies.install("mine", source=cache)
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    result = in_new_process("taxonomy", "search", "łąk", "--taxonomy", "mine", env=environment)
    assert result.returncode == 0
    assert b"??ka" in result.stdout


def shown(result, *, width=80, color=False):
    console = Console(
        width=width, force_terminal=color, color_system="truecolor" if color else None, record=True
    )
    with console.capture() as capture:
        console.print(render_result(result))
    return capture.get()


def match(words, start, **changes):
    fields = {
        "start": start,
        "end": start + len(words),
        "text": words,
        "concept_id": "x",
        "label": "use databases",
        "kind": "skill",
        "score": 0.8,
        "method": "exact",
        "requirement": "required",
        "zone": "requirements",
    }
    return SkillMatch(**fields | changes)


def skill(requirement, *matches):
    first = matches[0]
    return Skill(
        concept_id="x",
        label=first.label,
        kind=first.kind,
        score=0.8,
        requirement=requirement,
        matches=matches,
    )


FULL = JobResult(
    id="ad",
    skills=(
        skill("negated", match("Java", 300, label="Java")),
        skill("required", match("[bold]SQL[/bold]\x1b[31m", 5), match("SQL", 90), match("SQL", 99)),
        skill("preferred", match("long words " * 20, 200, label="drive " * 20)),
        skill("mentioned", match("team", 280, label="work in teams")),
    ),
    occupations=(OccupationMatch(concept_id="o", label="clerk", code="4110", score=0.7),),
    role=RoleAssessment(
        label="threatened",
        nearest="threatened",
        probabilities={"created": 0.1, "augmented": 0.2, "threatened": 0.6, "unaffected": 0.1},
        channel="cognitive",
        evidence=tuple(
            Evidence(
                kind="task",
                text=f"enter data {n}",
                points_to="threatened",
                weight=1,
                start=n,
                end=9,
            )
            for n in range(8)
        ),
        notes=("transforming",),
    ),
    provenance=Provenance(
        jobshift="0.1.0", taxonomy="mini", taxonomy_version="1", taxonomy_sha256="0", encoder="e"
    ),
)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_readable_result(width):
    text = shown(FULL, width=width)
    order = [
        "ML-threatened  p = 0.60  (cognitive routine)",
        "ML-augmented 0.20",
        "note: transforming",
        "“enter data 0” [0–9]",
        "and 2 more (--json shows all)",
        "clerk",
        "Required skills (1)",
        "“[bold]SQL[/bold] [31m”",
        "Preferred skills (1)",
        "Mentioned skills (1)",
        "Explicitly not needed (1)",
        "taxonomy mini 1",
    ]
    flat = " ".join(text.split())
    places = [flat.find(" ".join(words.split())) for words in order if width >= 80]
    assert -1 not in places
    assert places == sorted(places)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "at risk" in text
    assert "replace" not in text


def test_readable_result_with_colour():
    text = shown(FULL, color=True)
    assert "\x1b[" in text
    assert "\x1b[31m" not in text


def test_readable_result_of_little():
    role = RoleAssessment(
        label=None, nearest=None, probabilities={}, abstained="the text names no duty"
    )
    text = shown(JobResult(id="ad", role=role))
    assert "no class" in text
    assert "the text names no duty" in text
    assert "No skill" in text
    assert "row-3: no text" in shown(JobResult(id="row-3", error="no text"))
    unaffected = RoleAssessment(
        label="unaffected", nearest="augmented", probabilities={"unaffected": 0.9}
    )
    assert "nearest class: ML-augmented" in shown(JobResult(id="ad", role=unaffected))


def test_examples_are_ads_of_a_usual_length():
    for name in ("data-analyst", "warehouse-operative", "ml-engineer"):
        text = (ROOT / "examples" / f"{name}.txt").read_text(encoding="utf-8")
        assert 300 <= len(text.split()) <= 450
