"""Configurations are what Hydra composes, or its complaint, whether Hydra is asked or not."""

import pytest

from moefacts.config import presets
from moefacts.config.loader import load_config
from moefacts.config.overrides import as_typed
from moefacts.config.presets import compose, explain
from moefacts.errors import UserError
from tests.conftest import TINY

QUICK = [
    TINY,
    ["scale=paper", "model=moe_44m", "model.moe.num_experts=4", "run.root='~/x'", "run.dir=~/y", "run.name=Bogotá"],
    ["scale=workstation", "evaluation.also_at=[3,5]", "training.method=freeze", "training.freeze=[head]"],
    ["training.learning_rate=1", "training.steps='12'", "training.compile=true", "init.run=null", "seed=1", "seed=2"],
]
BY_HYDRA = [
    ["population.cohorts={rare:{part_of:seen,start:40}}"],
    ["model=moe_laptop", "model.moe=null"],
    ["model.moe.kind=top_k"],
    ["training.compile=2"],
    ["training.steps=many"],
    ["training.stop=3"],
    ["seed=1,2"],
    ["+seed=2"],
    ["~seed"],
    ["scale=laptop", "scale=paper"],
    ["run.dir=${oc.env:HOME}"],
]
REFUSED = [["training.learning_rate=nan"], ["device=0"], ["model=foo"]]


def asked(overrides):
    """What Hydra composes or complains of."""
    try:
        return load_config(presets._composed(as_typed(overrides)))
    except UserError as error:
        return str(error)
    except Exception as error:
        return str(explain(error, overrides))


@pytest.mark.parametrize("overrides", [*QUICK, *BY_HYDRA, *REFUSED], ids=" ".join)
def test_what_is_composed_is_what_hydra_composes_and_so_is_every_complaint(overrides):
    expected = asked(overrides)
    try:
        found = compose(overrides)
    except UserError as error:
        found = str(error)
    assert found == expected
    assert repr(found) == repr(expected)  # 1 and 1.0 are equal


def test_hydra_is_asked_once_for_the_presets_and_never_for_values(monkeypatch):
    for overrides in QUICK:
        compose(overrides)
    monkeypatch.setattr(presets, "_composed", lambda _: pytest.fail("Hydra was asked"))
    for overrides in QUICK:
        compose([*overrides, "seed=7"])


def test_what_is_composed_is_its_callers_own():
    compose([]).training.steps = 7
    compose([]).evaluation.also_at.append(7)
    assert compose([]).training.steps != 7
    assert compose([]).evaluation.also_at == []
