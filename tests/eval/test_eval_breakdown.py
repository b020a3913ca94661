"""The breakdown of time: every component is there, and the encoder is as it was afterwards."""

from eval.breakdown import ENCODER, WITHOUT, measure


def test_every_component_has_its_time(mini_engine):
    texts = ["Requirements:\n- Java\n- You manage budgets and drive forklifts."] * 3
    encoder = mini_engine.resources.encoder.encoder
    spent = measure(mini_engine, texts)
    assert set(spent) == {ENCODER, "tokenizer", *mini_engine.nlp.pipe_names}
    assert all(seconds >= 0 for seconds in spent.values())
    assert "encode" not in vars(encoder)
    without = measure(mini_engine, texts, leave_out=[WITHOUT])
    assert set(spent) - set(without) == {WITHOUT}
