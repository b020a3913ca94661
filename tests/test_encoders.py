"""Every encoder keeps the same contract."""

import numpy as np
import pytest

from extractor.encoders import (
    MODELS,
    CachedEncoder,
    HashingEncoder,
    MiniLMEncoder,
    load_encoder,
)
from extractor.errors import ArtefactError
from extractor.int8 import is_able
from extractor.interfaces import Encoder, unit

ENCODERS = [
    pytest.param(HashingEncoder, id="hashing"),
    pytest.param(lambda: CachedEncoder(HashingEncoder(64)), id="cached"),
    pytest.param(lambda: load_encoder("accurate"), id="accurate"),
    pytest.param(lambda: load_encoder("fast"), id="fast"),
    pytest.param(lambda: load_encoder("minilm"), id="minilm"),
]


@pytest.mark.parametrize("make", ENCODERS)
def test_contract(make):
    encoder = make()
    assert isinstance(encoder, Encoder)
    texts = ["manage budgets", "", "Python", "manage budgets", "😀 " * 300]
    vectors = encoder.encode(texts)
    assert vectors.shape == (5, encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[3], atol=1e-6)
    np.testing.assert_allclose(encoder.encode(texts[::-1])[::-1], vectors, atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_a_part_is_read_in_its_context():
    encoder = CachedEncoder(load_encoder("accurate"))
    texts = ["We ride the train to work.", "You train new colleagues.", "x " * 500 + "train"]
    parts = [[(12, 17)], [(4, 9), (0, 25)], [(1000, 1005)]]
    vectors, of_parts = encoder.encode_parts(texts, parts)
    np.testing.assert_allclose(vectors, encoder.encode(texts), atol=1e-3)
    assert [len(found) for found in of_parts] == [1, 2, 1]
    assert of_parts[0][0] @ of_parts[1][0] < 0.95
    # The end of a long text is read, too.
    assert of_parts[2][0] @ encoder.encode(["train"])[0] > of_parts[2][0] @ vectors[2]


def test_readings_hold_every_word_piece_once():
    encoder = load_encoder("accurate")
    texts = ["", "Café-Bar: naïve 日本 😀", "word " * 400]
    for text, reading in zip(texts, encoder.read(texts), strict=True):
        np.testing.assert_allclose(reading.vector, encoder.encode([text])[0], atol=2e-2)
        assert len(reading.offsets) == len(reading.states)
        assert sum(len(window) - 2 for window in reading.windows) == len(reading.states)
        assert (np.diff(reading.offsets[:, 0]) >= 0).all()
        assert (reading.offsets <= len(text)).all()
    pieces = [texts[1][a:b] for a, b in encoder.read(texts)[1].offsets]
    assert "".join(pieces) == texts[1].replace(" ", "")


def test_a_part_without_a_word_piece_has_the_vector_of_the_text():
    (reading,) = load_encoder("accurate").read(["use  Java"])
    np.testing.assert_allclose(reading.parts([(3, 5), (4, 4)]), [reading.vector] * 2, atol=1e-6)
    assert reading.parts([]).shape == (0, 384)


def test_a_part_is_read_alone_where_the_encoder_knows_no_context():
    encoder = CachedEncoder(HashingEncoder(64))
    _, (parts,) = encoder.encode_parts(["use Java daily"], [[(4, 8)]])
    np.testing.assert_allclose(parts[0], HashingEncoder(64).encode(["Java"])[0])


class Counting:
    name, dimension = "counting", 8

    def __init__(self):
        self.seen = []

    def encode(self, texts):
        self.seen.extend(texts)
        return np.tile(np.eye(1, 8, dtype=np.float32), (len(texts), 1))


def test_cache_encodes_a_text_once_and_stays_small():
    counting = Counting()
    encoder = CachedEncoder(counting, size=2)
    encoder.encode(["a", "b", "a"])
    encoder.encode(["b", "a"])
    assert counting.seen == ["a", "b"]
    encoder.encode(["c"])
    encoder.encode(["b"])
    assert counting.seen == ["a", "b", "c", "b"]


def test_unknown_encoder_says_what_can_be_given(tmp_path):
    with pytest.raises(ArtefactError, match="give `minilm`"):
        load_encoder(str(tmp_path / "nothing-here"))


def test_cache_does_not_keep_whole_batches_alive():
    encoder = CachedEncoder(HashingEncoder(16))
    encoder.encode([str(number) for number in range(100)])
    assert all(vector.base is None for vector in encoder._vectors._known.values())


@pytest.mark.skipif(not is_able(), reason="the processor has no fast 8-bit integers")
def test_vectors_in_8_bits_are_near_those_of_the_model():
    texts = ["Plan the budget of a department", "SQL", "You know Python and train new staff."]
    in_integers = MiniLMEncoder("a", MODELS / "minilm.safetensors")
    as_it_is = MiniLMEncoder("b", MODELS / "minilm.safetensors", integers=False)
    assert (in_integers.arithmetic, as_it_is.arithmetic != "int8") == ("int8", True)
    found, exact = in_integers.encode(texts), as_it_is.encode(texts)
    assert (found * exact).sum(axis=1).min() > 0.98
    first, other = in_integers.read(texts), as_it_is.read(texts)
    for one, two in zip(first, other, strict=True):
        shared, wanted = (unit(r.windows[0].astype(np.float32)) for r in (one, two))
        assert (shared * wanted).sum(axis=1).min() > 0.97


def test_a_name_that_is_none_is_refused_without_a_network():
    with pytest.raises(ArtefactError, match="there is no encoder 'acurate'; give accurate"):
        load_encoder("acurate")


def test_the_sentences_of_a_large_batch_are_remembered():
    calls = []

    class Counting(HashingEncoder):
        def encode(self, texts):
            calls.append(list(texts))
            return super().encode(texts)

    encoder = CachedEncoder(Counting(16), size=2)
    texts = [f"sentence {number}" for number in range(6)]
    encoder.encode(texts)
    encoder.encode(texts)
    assert calls == [texts]
    encoder.encode(["another"])
    encoder.encode(texts[-1:])
    encoder.encode(texts[:1])
    assert calls[1:] == [["another"], texts[:1]]
