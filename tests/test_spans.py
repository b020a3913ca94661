"""Span finder: the CRF against enumeration, the runs against a plain sum, a network set by hand."""

import json
from itertools import chain, combinations, product
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc
from transformers import BertConfig

from extractor import spans
from extractor.components import SkillSpans
from extractor.encoders import WINDOW, CachedEncoder, load_encoder
from extractor.errors import ArtefactError
from extractor.int8 import Int8Layers
from extractor.interfaces import Reading
from extractor.spans import (
    Candidate,
    Heads,
    SpanFinder,
    SpanNetwork,
    TransformerLayers,
    decode,
    words_of,
)

NLP = spacy.blank("en")
WIDTH = 8


class LetterEncoder:
    """An encoder whose word pieces are letters and digits; other signs have none."""

    name = "letters"
    dimension = WIDTH

    def encode(self, texts):
        return np.eye(1, WIDTH, dtype=np.float32).repeat(len(texts), axis=0)

    def read(self, texts):
        readings = []
        for text in texts:
            pieces = [n for n, sign in enumerate(text) if sign.isalnum()]
            offsets = np.array([(n, n + 1) for n in pieces], dtype=np.int32).reshape(-1, 2)
            states = np.array(
                [np.sin(ord(text[n]) * np.arange(1, WIDTH + 1)) for n in pieces], dtype=np.float16
            ).reshape(-1, WIDTH)
            mark = np.ones((1, WIDTH), dtype=np.float16)
            windows = tuple(
                np.concatenate([mark, states[start : start + WINDOW], mark])
                for start in range(0, max(1, len(pieces)), WINDOW)
            )
            readings.append(Reading(self.encode([text])[0], offsets, states, windows))
        return readings


def small_network(seed=0):
    torch.manual_seed(seed)
    config = BertConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    heads = Heads(WIDTH + spans.SHAPE_WIDTH, hidden=4, rank=2)
    return SpanNetwork(TransformerLayers(config), heads)


@pytest.fixture
def finder():
    """Set by hand to mark runs of upper-case words as knowledge."""
    network = small_network()
    with torch.no_grad():
        for name, values in network.named_parameters():
            if not name.startswith("layers."):
                values.zero_()
        network.shapes.weight[spans.SHAPES.index("upper"), 0] = 1.0
        network.heads.hidden.weight[0, WIDTH] = 10.0  # behind the numbers of the encoder
        inside = 2 * len(spans.LABELS) + spans.LABELS.index("KNOWLEDGE")
        network.heads.roles.weight[inside, 0] = 2.0
        network.heads.roles.bias[inside] = -10.0
        network.width[:] = -4.0
    return SpanFinder(network, CachedEncoder(LetterEncoder()), thresholds=(0.5, 0.5))


def sentence(text):
    doc = NLP(text)
    return doc[:]


def texts(text, found):
    return [(text[one.start : one.end], one.label) for one in found.spans]


def disjoint_sets(length, widest):
    """All sets of runs (start, width - 1) that do not overlap."""
    runs = [(s, w) for s, w in product(range(length), range(widest)) if s + w < length]
    for chosen in chain.from_iterable(combinations(runs, n) for n in range(length + 1)):
        covered = [word for s, w in chosen for word in range(s, s + w + 1)]
        if len(covered) == len(set(covered)):
            yield chosen


@pytest.mark.parametrize(("length", "widest"), [(1, 3), (4, 2), (4, 4), (5, 3)])
def test_partition_and_marginals_agree_with_enumeration(length, widest):
    torch.manual_seed(length)
    scores = torch.randn(2, 2, length, widest, dtype=torch.float64)
    for start, width in product(range(length), range(widest)):
        if start + width >= length:
            scores[:, :, start, width] = spans.IMPOSSIBLE
    total = torch.zeros(2, 2, dtype=torch.float64)
    expected = torch.zeros_like(scores)
    for chosen in disjoint_sets(length, widest):
        weight = torch.exp(sum((scores[:, :, s, w] for s, w in chosen), torch.zeros(2, 2)))
        total += weight
        for start, width in chosen:
            expected[:, :, start, width] += weight
    torch.testing.assert_close(spans.log_partition(scores), total.log())
    torch.testing.assert_close(spans.marginals(scores), expected / total[:, :, None, None])


def test_score_of_a_run_is_the_sum_of_its_parts():
    torch.manual_seed(0)
    roles, pairs = torch.randn(5, 1, 2, 6), torch.randn(1, 2, 6, 6)
    network = small_network()
    is_word = torch.tensor([[True] * 5 + [False]])
    scores = network._runs(roles, pairs, is_word)
    start, end, inside, before, behind = roles[:, 0, 1]
    run = start[1] + end[3] + inside[1:4].sum() + before[0] + behind[4] + pairs[0, 1, 1, 3]
    torch.testing.assert_close(scores[0, 1, 1, 2], run + network.width[1, 2])
    first = start[0] + end[0] + inside[0] + behind[1] + pairs[0, 1, 0, 0]
    torch.testing.assert_close(scores[0, 1, 0, 0], first + network.width[1, 0])
    assert scores[0, 1, 3, 2] == spans.IMPOSSIBLE  # over the end of the sentence
    assert scores[0, 1, 4, 1] == spans.IMPOSSIBLE  # into the padding


def test_runs_of_one_label_do_not_overlap_and_those_of_two_may():
    skill, wider = Candidate(0, 3, 0, 0.6), Candidate(0, 4, 0, 0.5)
    inside, faint = Candidate(1, 3, 1, 0.4), Candidate(4, 5, 1, 0.1)
    assert decode([faint, inside, wider, skill], (0.3, 0.3)) == [skill, inside]
    assert decode([faint, inside, wider, skill], (0.9, 0.05)) == [inside, faint]


def test_words_that_are_sure_are_marked_though_their_edges_are_not():
    edges = [Candidate(0, 2, 1, 0.25), Candidate(0, 3, 1, 0.3), Candidate(1, 3, 1, 0.2)]
    alone = Candidate(5, 6, 1, 0.3)
    # The words of 0 to 2 are marked with .55, .75 and .5, that of 5 with .3.
    assert decode([*edges, alone], (0.4, 0.4)) == [edges[1]]
    assert decode([*edges, alone], (0.4, 0.29)) == [edges[1], alone]
    assert decode([*edges, alone], (0.4, 0.46)) == []
    # The other label has no part in it; what is hardly possible is never chosen.
    assert decode([edges[1], edges[0]._replace(label=0)], (0.4, 0.4)) == []
    assert decode([Candidate(0, 1, 1, 0.09)], (0.0, 0.0)) == []
    # Calibrated probabilities may add up to more than 1, which counts as 1.
    many = [Candidate(0, width, 0, 0.4) for width in (1, 2, 3, 4)]
    assert decode(many, (0.71, 0.0)) == []
    assert decode(many, (0.69, 0.0)) == [many[0]]


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("sql", "lower"),
        ("SQL", "upper"),
        ("Java", "title"),
        ("C", "title"),
        ("MySQL", "mixed"),
        ("C++", "upper"),
        ("B2B", "digits"),
        ("–", "other"),
    ],
)
def test_shape(word, shape):
    assert spans.SHAPES[spans.shape_of(word)] == shape


def test_spans_have_the_offsets_of_the_sentence(finder):
    text = "Uses SQL  and\n AWS LAMBDA daily ."
    (found,) = finder.find([sentence(text)])
    # Blanks are no words: that between "AWS" and "LAMBDA" may be any.
    assert texts(text, found) == [("SQL", "KNOWLEDGE"), ("AWS LAMBDA", "KNOWLEDGE")]
    doc = NLP(f"We grow. {text} IBM")
    assert finder.find([doc[3:-1]]) == [found]
    assert all(0.5 <= one.probability <= 1 for one in found.spans)


def test_sentences_are_read_alike_alone_and_together(finder):
    several = ["Uses SQL", "a " * 40 + "IBM XML", "", "  ", "no names here", "SQL"]
    together = finder.find([sentence(text) for text in several])
    assert [len(found.spans) for found in together] == [1, 1, 0, 0, 0, 1]
    for text, found in zip(several, together, strict=True):
        (alone,) = finder.find([sentence(text)])
        assert texts(text, alone) == texts(text, found)
        assert [one.probability for one in alone.spans] == pytest.approx(
            [one.probability for one in found.spans], abs=1e-5
        )
    assert finder.find([]) == []


def test_long_sentences_are_read_to_their_end(finder):
    text = "word " * 300 + "SQL " + "x" * 5000 + " IBM"
    (found,) = finder.find([sentence(text)])
    assert texts(text, found) == [("SQL", "KNOWLEDGE"), ("IBM", "KNOWLEDGE")]


def test_words_that_the_encoder_does_not_know_are_read_in_parts(finder):
    text = "… " * 1000 + "SQL"
    (parts,) = finder.read([words_of(sentence(text))])
    assert max(len(part.pieces) for part in parts) <= WINDOW
    assert sum(len(part.pieces) for part in parts) == 1001
    (found,) = finder.find([sentence(text)])
    assert texts(text, found) == [("SQL", "KNOWLEDGE")]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("Use APIS (REST) daily", "APIS (REST)"),
        ("apis by REST) daily", "REST"),
        ("apis (REST only", "REST"),
    ],
)
def test_brackets_come_in_pairs(finder, text, span):
    with torch.no_grad():  # brackets are marked like upper-case words
        finder.network.shapes.weight[spans.SHAPES.index("other"), 0] = 1.0
    (found,) = finder.find([sentence(text)])
    assert texts(text, found) == [(span, "KNOWLEDGE")]


def test_runs_that_differ_by_a_lone_bracket_are_one(finder):
    (places,) = [words_of(sentence("Uses SQL) daily"))]
    runs = [Candidate(1, 3, 1, 0.3), Candidate(1, 2, 1, 0.25), Candidate(0, 2, 1, 0.1)]
    found = finder._found(places, runs)
    assert found.spans == [spans.FoundSpan(5, 8, "KNOWLEDGE", 0.55)]
    assert found.possible == [(0, 8, 0.1), (5, 8, 0.55)]


@pytest.mark.parametrize(
    ("text", "bracket"),
    [("a)", ")"), ("(a", "("), ("(a)", ""), ("a (b", ""), ("a) b", ""), (")", ")"), ("", "")],
)
def test_lone_brackets_are_those_at_an_edge(text, bracket):
    assert spans.lone_bracket(text) == bracket


def test_calibration_moves_probabilities_and_keeps_their_order(finder):
    finder.thresholds = (0.0, 0.0)
    read = finder.read([words_of(sentence("Uses SQL or Java"))])
    (before,) = finder.candidates(read)
    finder.calibration = ((0.5, -1.0), (0.5, -1.0))
    (after,) = finder.candidates(read)
    assert [run[:3] for run in after] == [run[:3] for run in before]
    assert max(run.probability for run in after) < max(run.probability for run in before)


def test_component_skips_what_describes_the_employer(finder):
    words = ["Uses", "SQL", "daily", "We", "are", "IBM", "staff"]
    doc = Doc(NLP.vocab, words)
    with pytest.raises(ArtefactError, match="put jobshift_zones, or a sentencizer"):
        SkillSpans(finder)(NLP("no sentences"))
    doc.spans["sentences"] = [doc[:3], doc[3:]]
    assert [s.text for s in SkillSpans(finder)(doc).spans["skill_spans"]] == ["SQL", "IBM"]
    doc.spans["sentences"] = [
        spacy.tokens.Span(doc, 0, 3, label="duties"),
        spacy.tokens.Span(doc, 3, 7, label="about"),
    ]
    group = SkillSpans(finder)(doc).spans["skill_spans"]
    assert [(span.text, span.label_) for span in group] == [("SQL", "KNOWLEDGE")]
    again = Doc(NLP.vocab).from_bytes(doc.to_bytes()).spans["skill_spans"]
    assert again.attrs["score"] == group.attrs["score"]
    assert again.attrs["score"][0] > 0.5
    assert [5, 8] in [[start, end] for start, end, _ in again.attrs["possible"]]
    # A sentence that stands alone is read whatever it is about.
    doc.spans["sentences"] = [spacy.tokens.Span(doc, 0, 7, label="about")]
    assert len(SkillSpans(finder)(doc).spans["skill_spans"]) == 2


def test_runs_that_are_not_chosen_may_still_be_possible(finder):
    text = "Uses SQL AND XML daily"
    (found,) = finder.find([sentence(text)])
    assert texts(text, found) == [("SQL AND XML", "KNOWLEDGE")]
    chosen = found.spans[0]
    assert (chosen.start, chosen.end, chosen.probability) in found.possible
    finder.thresholds = (1.0, 1.0)
    (none,) = finder.find([sentence(text)])
    assert not none.spans
    assert none.possible == found.possible


def test_missing_or_other_model_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"training\.spans"):
        SpanFinder.load(CachedEncoder(LetterEncoder()), tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(ArtefactError, match="schema 99"):
        SpanFinder.load(CachedEncoder(LetterEncoder()), tmp_path)
    with pytest.raises(ArtefactError, match="not from 'letters'"):
        SpanFinder.load(CachedEncoder(LetterEncoder()))


@pytest.fixture(scope="module")
def shipped():
    return SpanFinder.load(CachedEncoder(load_encoder("accurate")))


@pytest.mark.model
def test_saving_gives_the_same_finder(shipped, tmp_path):
    shipped = SpanFinder.load(shipped.encoder, integers=False)
    shipped.save(tmp_path)
    again = SpanFinder.load(shipped.encoder, tmp_path)
    doc = NLP("You will design relational databases and know Kotlin")
    (one,), (other,) = shipped.find([doc[:]]), again.find([doc[:]])
    assert texts(doc.text, one) == texts(doc.text, other)
    if isinstance(again.network.layers, Int8Layers):
        with pytest.raises(ArtefactError, match="integers=False"):
            again.save(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(ArtefactError, match="cannot be read"):
        SpanFinder.load(shipped.encoder, tmp_path)


@pytest.mark.model
@pytest.mark.parametrize(
    ("text", "label", "part"),
    [
        ("Proficient in Kotlin and PostgreSQL", "KNOWLEDGE", "Kotlin"),
        ("Proficient in Kotlin and PostgreSQL", "KNOWLEDGE", "PostgreSQL"),
        ("You will prepare monthly reports for the board", "SKILL", "reports"),
        ("You communicate clearly with customers", "SKILL", "communicate"),
        ("Degree in mechanical engineering", "KNOWLEDGE", "mechanical engineering"),
    ],
)
def test_finds_what_is_asked_for(shipped, text, label, part):
    (found,) = shipped.find([sentence(text)])
    assert any(one.label == label and part in text[one.start : one.end] for one in found.spans)


@pytest.mark.model
@pytest.mark.parametrize(
    "text", ["Salary: 40,000 a year", "Apply by Friday with your CV", "Our office is in Leeds"]
)
def test_finds_nothing_where_nothing_is_asked_for(shipped, text):
    assert shipped.find([sentence(text)])[0].spans == []


@pytest.mark.model
def test_engine_gives_the_spans_of_an_ad(engine):
    text = (Path(__file__).parents[1] / "examples" / "data-analyst.txt").read_text("utf-8")
    (found,) = engine.spans_batch([text])
    assert len(found) >= 10
    assert {"SKILL", "KNOWLEDGE"} == {one.label for one in found}
    assert [one.start for one in found] == sorted(one.start for one in found)
    assert "SQL" in {text[one.start : one.end] for one in found}
