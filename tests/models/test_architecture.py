"""A stored configuration that lacks a setting gets the setting's neutral value."""

import dataclasses

from moefacts.models.architecture import BalanceConfig, ModelConfig, MoEConfig


def defaults(kind):
    missing = dataclasses.MISSING
    return {field.name: field.default for field in dataclasses.fields(kind) if field.default is not missing}


def test_settings_that_are_not_given_are_off():
    assert defaults(ModelConfig) == {"mixer": "attention", "moe": None}
    assert defaults(MoEConfig) == {"num_shared": 0, "num_added": 0, "noise": False, "capacity_factor": None}
    assert set(vars(BalanceConfig()).values()) == {0.0}
