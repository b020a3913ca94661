"""Layers in bytes against the same layers in 32 bits."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from extractor.int8 import (
    INPUTS,
    Int8Convolutions,
    Int8Heads,
    Int8Layers,
    Rounding,
    Search,
    Table,
    find_ranges,
    is_able,
    parts_of,
)
from extractor.spans import Convolutions, Heads

pytestmark = pytest.mark.skipif(not is_able(), reason="the processor has no fast 8-bit integers")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
    )
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture(scope="module")
def integers(model):
    ids = torch.randint(1, 50, (40, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ranges = find_ranges(parts_of(model.encoder.layer), lambda: model(input_ids=ids))
    assert sorted(ranges) == sorted(f"{n}.{name}" for n in range(2) for name in INPUTS)
    return Int8Layers(model.encoder.layer.state_dict(), ranges, heads=4)


def run(integers, model, ids):
    with torch.inference_mode():
        return integers(model.embeddings(input_ids=ids), ids > 0)


def test_states_are_close_to_those_of_32_bits(model, integers):
    ids = torch.randint(1, 50, (8, 10), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        exact = model(input_ids=ids).last_hidden_state
    found = run(integers, model, ids)
    assert torch.cosine_similarity(found, exact, dim=-1).min() > 0.99
    assert not torch.equal(found, exact)  # it does round


def test_a_text_is_read_alike_alone_and_beside_longer_ones(model, integers):
    ids = torch.randint(1, 50, (3, 20), generator=torch.Generator().manual_seed(3))
    ids[0, 5:] = 0
    together = run(integers, model, ids)[0, :5]
    alone = run(integers, model, ids[:1, :5])[0]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)


def test_rounding_keeps_zero_and_cuts_off_what_lies_beyond():
    rounding = Rounding.of(torch.tensor([[-1.0, -0.5], [3.0, 0.1]]))
    written = rounding.writer()(torch.tensor([[0.0, -9.0], [9.0, 1.0]]))
    assert written[0, 0] == rounding.zero
    assert (written[0, 1], written[1, 0]) == (0, 255)
    assert (float(written[1, 1]) - rounding.zero) * rounding.scale == pytest.approx(1.0, abs=0.01)
    large = Rounding.of(torch.tensor([[-100.0, -0.5], [100.0, 0.5]]), torch.ones(4, 2))
    small = large.writer()(torch.tensor([[50.0, 0.25]])).float() - large.zero
    restored = small * large.scale * large.columns
    torch.testing.assert_close(restored, torch.tensor([[50.0, 0.25]]), rtol=0.15, atol=0)


def test_search_finds_what_is_nearest():
    generator = torch.Generator().manual_seed(4)
    table = torch.nn.functional.normalize(torch.randn(500, 64, generator=generator), dim=1)
    vectors = torch.nn.functional.normalize(table[:70] + table[70:140] / 2, dim=1)
    found = Search(table).nearest(vectors, 10)
    exact = (vectors @ table.T).topk(10).indices
    assert found.shape == (70, 10)
    assert torch.equal(found[:, :2], exact[:, :2])
    both = [len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    assert sum(both) / 700 > 0.95


@pytest.mark.parametrize(("rows", "k"), [(500, 500), (33, 20), (16, 1), (7, 7), (1, 1)])
def test_search_gives_as_many_different_rows_as_it_is_asked_for(rows, k):
    table = torch.nn.functional.normalize(torch.randn(rows, 16), dim=1)
    found = Search(table).nearest(-table[:3], k)  # also those with negative products
    assert found.shape == (min(3, rows), k)
    for of_vector in found.tolist():
        assert len(set(of_vector)) == k
        assert set(of_vector) <= set(range(rows))


@pytest.mark.parametrize("able", [True, False])
def test_products_of_some_rows_of_a_table(monkeypatch, able):
    if not able:
        monkeypatch.setattr("extractor.int8.is_able", lambda: False)
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((100, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table, rows = Table.of(vectors), np.array([3, 3, 99, 0])
    asked = table.part(0, 5)
    found = table.products(rows, asked)
    assert (found.shape, found.dtype) == ((4, 5), np.float32)
    np.testing.assert_allclose(found, vectors[rows] @ vectors[:5].T, atol=0.004)
    np.testing.assert_allclose(table.vectors(rows), vectors[rows], atol=0.002)
    # A product does not depend on what else is asked for.
    alone = table.products(rows[2:], table.part(1, 2))[:, 0]
    np.testing.assert_array_equal(alone, found[2:, 1])


def test_heads_are_close_to_those_of_32_bits():
    torch.manual_seed(4)
    exact = Heads(40, hidden=32, rank=8).eval()
    words = torch.randn(3, 7, 40)
    with torch.inference_mode():
        wanted = exact(words)
        ranges = find_ranges(exact.rounded, lambda: exact(words))
        rounded = Int8Heads(exact.state_dict(), ranges)
        found = rounded(words)
        assert found.shape == wanted.shape == (3, 7, 2 * (5 + 2 * 8))
        assert torch.corrcoef(torch.stack([found.ravel(), wanted.ravel()]))[0, 1] > 0.999
        # A word's outputs do not depend on its company.
        torch.testing.assert_close(rounded(words[1:2, :4]), found[1:2, :4], rtol=0, atol=0)


def test_convolutions_are_close_to_those_of_32_bits():
    torch.manual_seed(5)
    exact = Convolutions(32, 3).eval()
    states = torch.randn(6, 9, 32)
    is_piece = torch.arange(9) < torch.tensor([9, 1, 4, 4, 7, 2])[:, None]
    states[~is_piece] = 0
    with torch.no_grad():
        ranges = find_ranges(exact.rounded, lambda: exact(states, is_piece))
        wanted = exact(states, is_piece)[is_piece]
        rounded = Int8Convolutions(exact.state_dict(), ranges)
        found = rounded(states, is_piece)
        alone = rounded(states[2:3, :4], is_piece[2:3, :4])
    assert torch.cosine_similarity(found[is_piece], wanted, dim=-1).min() > 0.99
    assert not found[~is_piece].any()
    torch.testing.assert_close(alone[0], found[2, :4], atol=1e-5, rtol=0)
