"""The runs of law-capacity: what differs between arms, and which runs other studies share with it."""

from dataclasses import asdict

import pytest

from moefacts.config.identity import identity
from moefacts.config.presets import compose
from moefacts.experiments.studies.law_capacity.grid import ARMS, NARROW_SLOW, SCALE, WIDE
from moefacts.experiments.studies.law_capacity.law_capacity import STUDY
from moefacts.experiments.studies.plateau_law import MIXTURES_STUDY
from moefacts.experiments.studies.plateau_law import STUDY as LAW


def config_of(run):
    return compose([f"scale={SCALE}", *run.overrides])


def configs(arm):
    return {
        (config.population.size, config.seed): config
        for config in (config_of(run) for run in STUDY.grids[SCALE] if run.labels["arm"] == arm.name)
    }


def test_the_runs_of_width_256_are_those_of_the_law_and_of_its_mixtures():
    theirs = [identity(config_of(run)) for study in (LAW, MIXTURES_STUDY) for run in study.grids[SCALE]]
    for arm in ARMS:
        shared = [identity(config) in theirs for config in configs(arm).values()]
        assert all(shared) if arm.width == 256 else not any(shared), arm.name


def test_every_arm_is_trained_on_the_same_people_in_the_same_order_with_three_seeds():
    of_wide = configs(WIDE)
    assert sorted({size for size, _ in of_wide}) == [512, 1024, 2048, 4096, 8192]
    for arm in ARMS:
        ours = configs(arm)
        assert {size for size, _ in ours} == set(arm.sizes)
        assert ours.keys() == {key for key in of_wide if key[0] in arm.sizes}
        assert len(ours) == 3 * len(arm.sizes)
        for key, config in ours.items():
            assert config.population == of_wide[key].population
            assert config.training.batch_size == of_wide[key].training.batch_size


def test_the_rate_is_inverse_to_the_width_except_where_it_is_that_of_the_widest():
    for arm in ARMS:
        for config in configs(arm).values():
            training = config.training
            expected = 1e-3 if arm in (WIDE, NARROW_SLOW) else 1e-3 * 256 / config.model.d_model
            assert training.learning_rate == pytest.approx(expected)
            assert training.learning_rate * training.weight_decay == pytest.approx(4e-5)
            assert config.model.d_model == arm.width


def test_models_differ_in_width_alone():
    def shape(config):
        model = asdict(config.model)
        relative = {key: model.pop(key) / config.model.d_model for key in ("d_model", "d_head", "d_hidden")}
        return model | relative | {"preset": None}

    dense = [arm for arm in ARMS if arm.name.endswith("dense") or arm is NARROW_SLOW]
    assert len(dense) == 4
    shapes = [shape(next(iter(configs(arm).values()))) for arm in dense]
    assert all(one == shapes[0] for one in shapes)


def test_with_one_rate_only_the_model_and_how_long_and_often_it_is_measured_differ():
    for key, config in configs(NARROW_SLOW).items():
        ours, wide = identity(config), identity(configs(WIDE)[key])
        different = {section for section in ours.keys() | wide.keys() if ours.get(section) != wide.get(section)}
        assert different <= {"model", "training", "evaluation"}
        measured = {"steps", "stop_after_plateau"}
        assert {k for k in ours["training"] if ours["training"][k] != wide["training"][k]} <= measured


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_evaluations_are_dense_enough_for_the_likely_plateau_and_runs_may_last_twice_as_long(arm):
    for size, at in arm.sizes.items():
        assert at.interval <= 0.14 * at.likely, size
        assert at.limit > 2 * at.likely
