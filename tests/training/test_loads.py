"""The recorded load of experts is that of all evaluation biographies, whatever batches they come in."""

import pytest
import torch

from moefacts.experiments.tasks.materials import load_run, prepare
from moefacts.experiments.tasks.train import execute
from moefacts.models.routing_losses import LoadSums, load_measures
from moefacts.runs import keys, layout
from moefacts.runs.records import read_metrics
from moefacts.training.evaluation import Evaluator
from tests.training.test_balancing import MOE

NUM_EXPERTS = 4


def test_a_record_has_the_load_of_all_evaluation_biographies(make_config, tmp_path):
    config = make_config(f"run.dir={tmp_path}/run", *MOE, "training.batch_size=2", "evaluation.batch_size=8")
    last = read_metrics(execute(config) / layout.METRICS)[-1]
    config, materials = load_run(tmp_path / "run")
    plan = Evaluator(materials.batcher, keys.SEEN, config.evaluation.biographies, 8).plan
    load_E = torch.zeros(NUM_EXPERTS)
    for row in range(len(plan)):
        batch = materials.batcher.assemble(plan.rows([row]))
        routing = materials.model(batch.token_BT[:, : int(batch.length_B[0]) - 1]).routings[1]
        load_E += torch.bincount(routing.expert_NK.flatten(), minlength=NUM_EXPERTS)
    recorded = [last[keys.routing_key(1, keys.LOAD_FRACTION, expert)] for expert in range(NUM_EXPERTS)]
    assert recorded == pytest.approx((load_E / load_E.sum()).tolist(), abs=1e-3)
    assert last[keys.routing_key(1, keys.MAX_VIOLATION)] == pytest.approx(NUM_EXPERTS * max(recorded) - 1)


def test_loads_are_the_same_whatever_the_batches(make_config):
    materials = prepare(make_config(*MOE))
    model = materials.model.eval()
    few, many = (Evaluator(materials.batcher, keys.SEEN, 32, size).measure_with_loads(model)[1] for size in (32, 5))
    for layer in (0, 1):
        for name, value in load_measures(few[layer]).items():
            torch.testing.assert_close(load_measures(many[layer])[name], value, rtol=1e-4, atol=1e-5)


def test_sums_of_two_batches_add_up_to_those_of_both(make_config):
    materials = prepare(make_config(*MOE))
    token_BT = torch.randint(20, (6, 9), generator=torch.Generator().manual_seed(0))
    whole, first, second = (
        LoadSums.of(materials.model(part).routings[0]) for part in (token_BT, token_BT[:2], token_BT[2:])
    )
    added = first.combined(torch.add, second)
    for name, value in vars(whole).items():
        torch.testing.assert_close(getattr(added, name), value)
