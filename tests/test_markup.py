from __future__ import annotations

import pickle
import time
from html import escape, unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extractor import JobPosting
from extractor.errors import InvalidPostingError
from extractor.levels import find_mastery
from extractor.qualifications import find_qualifications
from extractor.zones import find_zones, split_sentences


def read(html: str) -> str:
    return JobPosting.from_html("ad", html).text


def sources(posting: JobPosting, start: int, end: int) -> list[str]:
    assert posting.source
    return [posting.source.html[a:b] for a, b in posting.source_spans(start, end)]


def plain_blanks(text: str) -> str:
    """Any blank that collapses in HTML may become a plain one."""
    return text.translate(dict.fromkeys(map(ord, "\t\n\r\f"), " "))


def check_map(posting: JobPosting) -> None:
    """Every character comes from where the map says, in the order of the runs."""
    assert posting.source
    html, runs = posting.source.html, posting.source.runs
    assert [run.end for run in runs[:-1]] == [run.start for run in runs[1:]]
    assert (runs[0].start, runs[-1].end) == (0, len(posting.text)) if runs else not posting.text
    for run in runs:
        text, source = posting.text[run.start : run.end], html[run.source_start : run.source_end]
        if run.is_verbatim and plain_blanks(text) == plain_blanks(source):
            continue
        if source == "":
            assert text.strip() in ("", "-", "|") or text.strip().rstrip(".").isdecimal()
        elif text == " ":
            assert "".join(source.split()) == "" or "<" in source
        else:
            assert plain_blanks(unescape(source).replace("\r\n", "\n")) == plain_blanks(text)


def test_layout() -> None:
    html = (
        "<!DOCTYPE html><html><head><title>No</title><style>p{}</style></head><body>"
        "<h1>Data   Engineer</h1><p>We <b>build</b>\n R&amp;D tools.<br>Now.</p><ul><li>Python"
        "<li><p>SQL</p></ul><ol><li>one<li>two</ol><table><tr><td>Place<td>Leeds</table>"
        "<script>var x='hidden'</script><!-- hidden --><p hidden>no</p><p style='display: none'>no"
        "</p><textarea>no</textarea><template>no</template><pre>a\n  b</pre>"
    )
    assert read(html) == (
        "Data Engineer\n\nWe build R&D tools.\nNow.\n\n- Python\n\n- SQL\n\n1. one\n2. two\n\n"
        "Place | Leeds\n\na\n  b"
    )


def test_sections_of_html_are_found() -> None:
    posting = JobPosting.from_html(
        "ad",
        "<h3>Requirements</h3><ul><li>Python</li></ul><h3>Benefits</h3><div>Free lunch</div>",
    )
    zones = {
        sentence.text: sentence.zone
        for sentence in split_sentences(posting.text, find_zones(posting.text))
    }
    assert zones == {"Python": "requirements", "Free lunch": "benefits"}


def test_spans_of_the_source_hold_no_tag() -> None:
    posting = JobPosting.from_html("ad", "<p>machine <b>lear</b>ning &amp; SQL</p>")
    assert posting.text == "machine learning & SQL"
    assert sources(posting, 0, 16) == ["machine ", "lear", "ning"]
    assert sources(posting, 17, 22) == ["&amp; SQL"]
    assert sources(posting, 5, 5) == []


def test_what_the_layout_adds_stands_nowhere() -> None:
    posting = JobPosting.from_html("ad", "<ul><li>a<li>b</ul>")
    assert posting.text == "- a\n- b"
    assert sources(posting, 0, 2) == []
    assert sources(posting, 0, 7) == ["a", "b"]


def test_plain_text_is_its_own_source() -> None:
    posting = JobPosting(id="ad", text="a < b &amp; <b>")
    assert posting.text == "a < b &amp; <b>"
    assert posting.source_spans(2, 5) == [(2, 5)]
    with pytest.raises(InvalidPostingError, match=r"\[3, 99\) does not lie in the text of 15"):
        posting.source_spans(3, 99)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("x &lt;b&gt; y", "x <b> y"),
        ("&copy 2024 &notit; &ampx &#8226;&#x41;", "© 2024 ¬it; &x •A"),
        ("a</foo>b <unknown>c</unknown>", "ab c"),
        ("a\r\nb\rc", "a b c"),
        ("<pre>a\r\nb</pre>", "a\nb"),
        ("x\u00a0 y\u00ad z", "x\u00a0 y\u00ad z"),
        ("5 < 6 <3", "5 < 6 <3"),
        ("", ""),
    ],
)
def test_characters(html: str, text: str) -> None:
    posting = JobPosting.from_html("ad", html)
    assert posting.text == text
    check_map(posting)


def test_a_page_without_text_is_refused() -> None:
    with pytest.raises(InvalidPostingError, match="shows no text"):
        JobPosting.from_html("ad", "<script>x</script>").check()
    with pytest.raises(InvalidPostingError, match="the HTML has 2,000,001 characters"):
        JobPosting.from_html("ad", "x" * 2_000_001)


def test_the_map_survives_pickling_and_json() -> None:
    posting = JobPosting.from_html("ad", "<p>a &amp; b")
    assert pickle.loads(pickle.dumps(posting)) == posting
    assert JobPosting.model_validate_json(posting.model_dump_json()) == posting


WORDS = st.text(
    st.sampled_from("ab Py\u00a0\u00ad\u200b😀é&<>\"'\n\r\t•-*.;:/1"), min_size=1, max_size=12
)
MARKUP = """<p>
</p>
<br>
<ul><li>
</li>
</ul>
<b>
</b>
<h2>
</h2>
<!-- x -->
<script>x()</script>
<table><tr><td>
<td>
</table>
<pre>
</pre>
&nbsp;
&amp
&#8226;
&shy;
&notit;
</x>
<p hidden>"""
PIECES = st.one_of(
    WORDS.map(lambda text: escape(text, quote=False)),
    WORDS,
    st.sampled_from(MARKUP.splitlines()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_every_character_comes_from_its_source(html: str) -> None:
    posting = JobPosting.from_html("ad", html)
    check_map(posting)
    text = posting.text
    for sentence in split_sentences(text, find_zones(text)):
        assert text[sentence.start : sentence.end] == sentence.text
        for start, end in posting.source_spans(sentence.start, sentence.end):
            assert 0 <= start < end <= len(html)


BULLETS = st.sampled_from(["• ", "- ", "* ", "1. ", "\u00a0", "\u00ad", "😀 ", "\r\n", "\n", "\r"])
PHRASES = st.sampled_from(
    ["5+ years of Python", "fluent Eng\u00adlish", "a degree in law", "Requirements:", "We offer"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(BULLETS, PHRASES, st.just("&amp; <br>")), max_size=20).map("".join))
def test_offsets_of_raw_text(text: str) -> None:
    sentences = split_sentences(text, find_zones(text))
    for sentence in sentences:
        assert text[sentence.start : sentence.end] == sentence.text
        find_mastery(sentence.text, 0, len(sentence.text))
    for item in find_qualifications(sentences):
        assert text[item.start : item.end] == item.text
        assert "degree" in item.text


@pytest.mark.parametrize(
    "unit",
    [
        *("<!--", "<a ", "&", "<b><p>", "<table>x", "</p>", '<a x="', "<"),
        *("Python\r\n", "R&amp;D ", "a</x> "),
    ],
)
def test_time_grows_with_the_length(unit: str) -> None:
    started = time.perf_counter()
    JobPosting.from_html("ad", unit * (200_000 // len(unit)))
    assert time.perf_counter() - started < 20
