"""Weights of the last checkpoint that are put back: the groups that changed cost what was learned, the others nothing."""

import pytest
import torch

from moefacts.models.transformer import build_model
from moefacts.probes import restored_weights
from moefacts.probes.mechanism.restored import restored_since
from moefacts.probes.restored_weights import NUM_PEOPLE, known_of
from moefacts.probes.shift import one_biography_each
from moefacts.runs.tables import MECHANISM_RESTORED
from tests.conftest import tiny_config

NUM_LAYERS = 3


@pytest.fixture
def model(batcher, monkeypatch):
    """Checkpoints 10 and 20 of it differ in embeddings and the attention of layer 1, 20 and 30 in the MLP of layer 2."""
    model = build_model(tiny_config(f"model.num_layers={NUM_LAYERS}").model, batcher.tokenizer.vocab_size, seed=0)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def load(_, step, loaded):
        loaded.load_state_dict(start)
        with torch.no_grad():
            if step > 10:
                loaded.embedding.weight.mul_(2)
                loaded.layers[1].mixer.qkv.weight.mul_(3)
            if step > 20:
                loaded.layers[2].feed_forward.down.weight.mul_(-5)

    monkeypatch.setattr(restored_weights, "load_weights", load)
    return model


def test_what_changed_since_is_what_is_lost(model, batcher, tmp_path):
    table = restored_since(tmp_path, model, batcher, [10, 20, 30], "seen")
    MECHANISM_RESTORED.write(tmp_path, table)
    loss = MECHANISM_RESTORED.read(tmp_path).set_index(["since", "group"])["attribute_loss"]
    change = table.set_index(["since", "group"])["relative_change"]
    assert float(model.layers[2].feed_forward.down.weight.detach().std()) > 0.2  # it ends with the last weights
    whole = known_of(one_biography_each(batcher, "seen", NUM_PEOPLE).measure(model))["attribute_loss"]
    assert loss[20, "none"] == loss[10, "none"] == pytest.approx(whole)
    for since, changed in ((20, {"mlp", "layer_2"}), (10, {"mlp", "layer_2", "embeddings", "query_key", "layer_1"})):
        groups = set(loss[since].index) - {"none", "all"}
        assert groups == {
            "embeddings", "norms", "query_key", "value_output", "mlp", *(f"layer_{n}" for n in range(NUM_LAYERS)),
        } | ({"head"} & groups)  # fmt: skip
        for group in groups - changed - {"value_output"}:  # values are a part of the projection that was changed
            assert (loss[since, group], change[since, group]) == (loss[since, "none"], 0), (since, group)
        for group in changed:
            assert change[since, group] > 0.5
            assert loss[since, group] != pytest.approx(loss[since, "none"], abs=1e-5)
    assert loss[20, "mlp"] == loss[20, "layer_2"] == loss[20, "all"]
    assert loss[10, "all"] != pytest.approx(loss[20, "all"], abs=1e-4)


def test_with_one_checkpoint_there_is_nothing_to_put_back(model, batcher, tmp_path):
    MECHANISM_RESTORED.write(tmp_path, restored_since(tmp_path, model, batcher, [30], "seen"))
    assert MECHANISM_RESTORED.read(tmp_path).empty
