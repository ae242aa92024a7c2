"""A setting that can be off has its neutral value when a stored configuration does not know it."""

import dataclasses

from moefacts.models.architecture import BalanceConfig, ModelConfig, MoEConfig


def defaults(kind):
    missing = dataclasses.MISSING
    return {field.name: field.default for field in dataclasses.fields(kind) if field.default is not missing}


def test_what_is_not_said_is_off():
    assert defaults(ModelConfig) == {"mixer": "attention", "moe": None}
    assert defaults(MoEConfig) == {"num_shared": 0, "noise": False, "capacity_factor": None}
    assert set(vars(BalanceConfig()).values()) == {0.0}
