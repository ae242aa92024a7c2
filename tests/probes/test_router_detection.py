"""Routing tells strangers from others where it is made to, and by chance only where it is not."""

import numpy as np
import pytest
import torch

from moefacts.experiments.tasks.materials import prepare
from moefacts.probes import router_detection
from moefacts.probes.router_detection import router_detection_table, routing_signs
from moefacts.probes.shift import one_biography_each
from moefacts.runs import tables
from tests.conftest import tiny_config

MOE = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16", "model.num_layers=2"]


@pytest.fixture(scope="module")
def materials():
    return prepare(tiny_config(*MOE))


def test_signs_are_those_of_the_router(materials):
    evaluator = one_biography_each(materials.batcher, "unseen", 20)
    signs = routing_signs(materials.model.train(), evaluator)
    assert set(signs) == {(layer, kind) for layer in (0, 1) for kind in ("name_end", "before_value")}
    row = 3
    batch = materials.batcher.assemble(evaluator.plan.rows(np.array([row])))
    with torch.no_grad():
        routing = materials.model.eval()(batch.inputs_BT).routings[1]
    before = (batch.value_position_BT[0, 1:] == 0).nonzero().flatten()
    gates = routing.logits_NE.softmax(dim=1)[before]
    entropy, use = signs[1, "before_value"]
    assert entropy[row] == pytest.approx(float(-(gates * gates.log()).sum(dim=1).mean()), rel=1e-4)
    share = np.bincount(routing.expert_NK[before].flatten().numpy(), minlength=4) / (2 * len(before))
    assert use[row] == pytest.approx(share, abs=1e-6)


def test_who_is_routed_differently_is_detected_and_permuted_labels_are_not(materials, monkeypatch, tmp_path):
    random = np.random.default_rng(0)

    def made_up(_, evaluator):
        strange = evaluator.cohort == "unseen"
        use = random.dirichlet([9, 1, 1, 1] if strange else [1, 1, 1, 9], 30)
        return {(0, kind): (random.normal(2 * strange, 1, 30), use) for kind in ("name_end", "before_value")}

    monkeypatch.setattr(router_detection, "routing_signs", made_up)
    found = router_detection_table(materials.model, materials.batcher, "seen", ["unseen"])
    tables.ROUTER_DETECTION.write(tmp_path, found)
    by_signal = tables.ROUTER_DETECTION.read(tmp_path).groupby("signal")[["auroc", "control"]].mean()
    assert by_signal.loc["experts", "auroc"] > 0.95
    assert 0.8 < by_signal.loc["entropy", "auroc"] < 1
    assert (abs(by_signal["control"] - 0.5) < 0.2).all()


def test_nobody_is_told_from_a_single_person(materials, tmp_path):
    from dataclasses import replace

    population = materials.batcher.population
    alone = replace(population, cohorts=population.cohorts | {"alone": range(60, 61)})
    batcher = materials.batcher.with_population(alone)
    tables.ROUTER_DETECTION.write(tmp_path, router_detection_table(materials.model, batcher, "seen", ["alone"]))
    assert tables.ROUTER_DETECTION.read(tmp_path).empty
