import numpy as np
import pytest

from moefacts.models.transformer import build_model
from moefacts.probes import wrong_answers
from moefacts.probes.shift import one_biography_each
from moefacts.probes.wrong_answers import confidences, wrong_answers_table
from moefacts.runs import tables
from tests.conftest import tiny_config


def test_confidence_is_averaged_over_wrong_and_over_right_answers():
    found = confidences(np.array([[1, 0], [0, 1.0]]), np.array([[0.9, 0.2], [0.6, 0.5]]))
    assert found == {"wrong": 2, "confidence_wrong": pytest.approx(0.4), "right": 2, "confidence_right": 0.7}
    assert np.isnan(confidences(np.ones((2, 2)), np.ones((2, 2)))["confidence_wrong"])


def test_there_is_a_row_per_checkpoint_and_cohort(batcher, monkeypatch, tmp_path):
    model = build_model(tiny_config().model, batcher.tokenizer.vocab_size, seed=0)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def load(run, step, loaded):  # the larger the logits, the surer the model is of the same answers
        loaded.load_state_dict(start)
        loaded.final_norm.weight.data.mul_(1 + step)

    monkeypatch.setattr(wrong_answers, "load_weights", load)
    table = wrong_answers_table(tmp_path, model, batcher, ["seen", "new"], [0, 3])
    tables.WRONG_ANSWERS.write(tmp_path, table)
    assert len(tables.WRONG_ANSWERS.read(tmp_path)) == 4
    assert (table["wrong"] + table["right"]).tolist() == [48 * 6, 8 * 6] * 2
    wrong = table.set_index(["cohort", "step"])["confidence_wrong"]
    assert wrong["seen", 3] > wrong["seen", 0]
    measures = one_biography_each(batcher, "seen").measure(model)
    expected = measures.value_confidence[measures.attribute_accuracy == 0].mean(dtype="float64")
    assert wrong["seen", 3] == pytest.approx(expected)
