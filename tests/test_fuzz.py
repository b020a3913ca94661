"""Anything may come in: every reader answers with rows or a clear error, the engine with offsets
inside the text.

`python tests/test_fuzz.py` goes on for as long as it is let, guided by coverage, where atheris is
installed; what it finds belongs into `FOUND`.
"""

import gzip
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from extractor.errors import InputFileError, InvalidPostingError
from extractor.files import numbered_rows, read_postings, to_posting
from extractor.records import JobPosting, JobResult

FORMATS = ("jsonl", "csv", "parquet", "jsonl.gz", "csv.zst")
FOUND = [b"", b"PAR1", b"\x1f\x8b", b'id,text\n"', b'{"text": 1}', b"\xef\xbb\xbf", b"id,text\r1,a"]
"""Inputs that once went wrong or that look as if they might."""

STRUCTURE = st.sampled_from(
    [
        *(
            "\n",
            "\n\n",
            "- ",
            "• ",
            "* ",
            ": ",
            "; ",
            ". ",
            ", ",
            " and ",
            " or ",
            "/",
            "(",
            ")",
            "\t",
        ),
        *("Requirements", "Your tasks", "Nice to have", "About us", "Benefits", "<p>", "&amp;"),
        *("Python", "manage budgets", "5+ years", "no", "not required", "C1", "Bachelor's degree"),
        *(
            "must",
            "preferred",
            "is a plus",
            "and/or",
            "e.g. ",
            "U.S.",
            "...",
            "--",
            "___",
            "\u2028",
        ),
        *(
            "\x00",
            "\ufeff",
            "\u202e",
            "e\u0301",
            "🙂",
            "ß",
            "İ",
            "ǆ",
            "\u00ad",
            "\u200b",
            "１",
            "½",
        ),
    ]
)
TEXTS = st.lists(STRUCTURE | st.text(max_size=8), min_size=1, max_size=60).map("".join)


def read_file(name, content):
    """Read a file as `batch` does; rows are numbered without a gap, whatever it holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"ads.{name}"
        path.write_bytes(content)
        try:
            rows = list(read_postings(path))
            again = [
                to_posting(row, number, _columns())
                for number, row in numbered_rows([path], start=1)
            ]
        except InputFileError:
            return
    for number, row in enumerate(rows, start=1):
        if isinstance(row, JobResult):
            assert row.error
            assert row.row == number
        else:
            row.text.encode()
    assert len(again) == max(0, len(rows) - 1)


def _columns():
    from extractor.files import DEFAULT_COLUMNS

    return DEFAULT_COLUMNS


def with_found(test):
    for content in FOUND:
        test = example(content)(test)
    return test


@pytest.mark.parametrize("name", FORMATS)
def test_readers(name):
    @settings(max_examples=60, deadline=None)
    @given(
        st.binary(max_size=300)
        | st.lists(
            st.sampled_from([b'{"text": "', b'"}', b'"', b",", b"\n", b"\r", b"id,text", b"\xff"])
            | st.binary(max_size=6),
            max_size=30,
        ).map(b"".join)
    )
    @with_found
    def run(content):
        read_file(name, gzip.compress(content) if name.endswith("gz") else content)

    run()


def check_result(result, posting):
    """No crash, and every offset is that of the words it goes with."""
    assert result.error is None, result.error
    text = posting.text
    places = [match for skill in result.skills for match in skill.matches]
    places += [*result.tasks, *result.qualifications]
    places += [result.experience] if result.experience else []
    places += [e for e in (result.role.evidence if result.role else ()) if e.start is not None]
    for place in places:
        assert 0 <= place.start <= place.end <= len(text)
        assert text[place.start : place.end] == place.text
    assert all(0 <= zone.start <= zone.end <= len(text) for zone in result.zones)
    if result.role and result.role.probabilities:
        assert abs(sum(result.role.probabilities.values()) - 1) < 1e-6


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, title=st.none() | TEXTS.map(lambda title: title[:60]))
@example(text="Python\r\n\r\n\u2028- C\x00", title="")
@example(text="İ" * 50 + " Python", title="İ")
@example(text="&#x110000; Python &amp", title=None)
@example(text=": \x1f0", title=None)
@example(text=": <!-- a Bachelor's degree and 5&nbsp;years of experience", title=None)
@example(text="(" * 300 + "Python" + ")" * 300, title=None)
def test_extract(mini_engine, text, title):
    posting = JobPosting(id="ad", text=text, title=title)
    try:
        posting.check()
    except InvalidPostingError:
        (result,) = mini_engine.extract_batch([posting])
        assert result.error
        return
    check_result(mini_engine.extract(posting), posting)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    html=st.lists(
        st.sampled_from(
            ["<p>", "</p>", "<ul><li>", "<table><td>", "<script>", "<!--", "&nbsp;", "&"]
        )
        | STRUCTURE,
        max_size=40,
    ).map("".join)
)
@example(html="<!--U.S.<p>")
def test_extract_from_html(mini_engine, html):
    posting = JobPosting.from_html("page", html)
    try:
        posting.check()
    except InvalidPostingError:
        return
    result = mini_engine.extract(posting)
    check_result(result, posting)
    for skill in result.skills:
        for match in skill.matches:
            for start, end in posting.source_spans(match.start, match.end):
                assert 0 <= start < end <= len(html)


def fuzz_by_coverage():
    """Feed the readers and what reads an ad without a model."""
    import atheris

    with atheris.instrument_imports(include=["extractor"]):
        from extractor.language import detect_language
        from extractor.levels import find_experience
        from extractor.markup import read_html
        from extractor.qualifications import find_qualifications
        from extractor.requirement import classify_requirement
        from extractor.zones import find_zones, mask_markup, split_sentences

    def one(data):
        provider = atheris.FuzzedDataProvider(data)
        kind = provider.ConsumeIntInRange(0, len(FORMATS) + 1)
        if kind < len(FORMATS):
            read_file(FORMATS[kind], provider.ConsumeBytes(4096))
            return
        text = provider.ConsumeUnicodeNoSurrogates(2048)
        if kind == len(FORMATS):
            text, _ = read_html(text)
        masked = mask_markup(text)
        assert len(masked) == len(text)
        zones = find_zones(masked, None)
        sentences = split_sentences(masked, zones)
        detect_language(text)
        find_experience(sentences)
        for found in find_qualifications(sentences):
            assert 0 <= found.start <= found.end <= len(text)
        for sentence in sentences:
            assert 0 <= sentence.start < sentence.end <= len(text)
            if sentence.text:
                classify_requirement(sentence.text, 0, 1, sentence.zone)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz_by_coverage()
