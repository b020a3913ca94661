"""Layers in bytes against the same layers in 32 bits."""

import pytest
import torch
from transformers import BertConfig, BertModel

from extractor.int8 import INPUTS, Int8Layers, Rounding, find_ranges, is_able

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
        ranges = find_ranges(model.encoder.layer, lambda: model(input_ids=ids))
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
