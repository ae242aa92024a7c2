"""Every kind of model trains at its own rate, the one with the lowest final training loss of those that were tried."""

import json
from pathlib import Path

import pytest

from moefacts.config.presets import compose
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.dense_vs_moe import RATES_STUDY, STUDY, rates
from moefacts.experiments.studies.dense_vs_moe.comparison import NAMES
from moefacts.experiments.studies.dense_vs_moe.grids import CHOSEN_RATES, RATES

TRIED = [float(rate) for rate in RATES["laptop"]]


def losses(**best):
    """Final training losses: 1 at each kind's best rate, by default the second, and more elsewhere."""
    return {kind: {rate: 1.0 + abs(place - best.get(kind, 1)) for place, rate in enumerate(TRIED)} for kind in NAMES}


def verdict(found):
    (claim,) = RATES_STUDY.claims["laptop"]
    return claim.decide(rates.Evidence(found))


def test_the_best_rate_has_the_lowest_loss():
    assert rates.best_rate({1e-3: 2.0, 3e-3: 1.0, 6e-3: 1.5}) == 3e-3


def test_a_best_rate_at_an_edge_was_not_found():
    assert verdict(losses()).answer == HOLDS
    for edge in (0, len(TRIED) - 1):
        found = verdict(losses(moe_switch=edge))
        assert found.answer == DOES_NOT_HOLD
        assert found.here == f"at an edge for {NAMES['moe_switch']}"


def test_with_a_rate_or_a_kind_missing_nothing_is_said():
    some = losses()
    del some["moe"][TRIED[2]]
    assert verdict(some).answer == CANNOT_TELL
    assert verdict({"dense": losses()["dense"]}).answer == CANNOT_TELL
    assert verdict({}).answer == CANNOT_TELL


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_all_rates_of_a_kind_are_tried_with_one_seed_and_otherwise_equal_settings(scale):
    grid = RATES_STUDY.grids[scale]
    assert len(grid) == len(NAMES) * len(RATES[scale]) >= 3 * len(NAMES)
    configs = [compose([f"scale={scale}", *run.overrides]) for run in grid]
    assert {config.seed for config in configs} == {configs[0].seed}
    assert all(
        config.training.learning_rate == run.labels["learning_rate"] for config, run in zip(configs, grid, strict=True)
    )


def test_the_comparison_uses_the_chosen_rates_with_and_without_balancing():
    for run in STUDY.grids["laptop"]:
        rate = compose(["scale=laptop", *run.overrides]).training.learning_rate
        assert rate == float(CHOSEN_RATES["laptop"][run.labels["kind"]])


def test_the_chosen_rates_are_those_of_the_committed_sweep():
    results = Path(__file__).parents[3] / "results" / "laptop" / "dense_vs_moe-lr" / "results.json"
    found = json.loads(results.read_text())
    assert found["complete"]
    assert found["best_rate"] == {kind: float(rate) for kind, rate in CHOSEN_RATES["laptop"].items()}
