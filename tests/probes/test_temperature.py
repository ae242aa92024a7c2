"""A fitted temperature is the one that logits were multiplied by, and it is tested on people it was not fitted on."""

import numpy as np
import pytest
import torch

from moefacts.models.transformer import build_model
from moefacts.probes.temperature import ValueLogits, fitted_temperature, temperature_table
from tests.conftest import tiny_config


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_of_logits_that_are_too_sharp_by_a_factor_is_this_factor(sharpness):
    generator = torch.Generator().manual_seed(0)
    honest_NV = torch.randn(6000, 7, generator=generator) * 1.5
    target_N = torch.multinomial(honest_NV.softmax(1), 1, generator=generator).squeeze(1)
    values = ValueLogits(sharpness * honest_NV, target_N, torch.arange(6000) // 2)
    fitted = fitted_temperature(values)
    assert fitted == pytest.approx(sharpness, rel=0.06)
    assert values.loss(fitted) <= values.loss(sharpness)
    expected = -honest_NV.log_softmax(1).gather(1, target_N[:, None]).sum() / 3000  # two tokens a value
    assert values.loss(sharpness) == pytest.approx(float(expected), rel=1e-5)
    largest = honest_NV.softmax(1).max(1).values.view(-1, 2).prod(1)
    assert values.confidence(sharpness) == pytest.approx(float(largest.mean()), rel=1e-5)


def test_the_table_has_a_row_for_everything_and_its_people_are_in_one_half_only(batcher, monkeypatch):
    fitted, real = [], fitted_temperature
    monkeypatch.setattr(
        "moefacts.probes.temperature.fitted_temperature", lambda values: fitted.append(values) or real(values)
    )
    model = build_model(tiny_config().model, batcher.tokenizer.vocab_size, seed=0)
    table = temperature_table(model, batcher)
    assert len(table) == 6 * 3 * 2
    assert set(table["people"]) == {16}
    assert set(table["fitted_on"]) == {"seen", "unseen", "seen and unseen"}
    assert len(fitted) == 18
    assert all((values.person_N[values.person_N < 32] % 2 == 0).all() for values in fitted)
    assert [values.num_people for values in fitted[:3]] == [16, 16, 32]
    same = table[table["fitted_on"] == table["tested"]]
    assert np.isfinite(same.select_dtypes("number").to_numpy()).all()
    assert table.groupby(["attribute", "tested"])["loss"].nunique().eq(1).all()
    assert table["temperature"].nunique() == 18
