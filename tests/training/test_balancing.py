import json
import math

import pytest
import torch
from safetensors.torch import load_file

from moefacts.experiments.tasks.materials import prepare
from moefacts.experiments.tasks.train import execute
from moefacts.models.routing_losses import LoadSums
from moefacts.models.transformer import build_model
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest
from moefacts.runs.records import read_metrics
from moefacts.training.balancing import Balancing, summarize_loads
from moefacts.training.interrupt import Interrupted
from moefacts.training.loop import Trainer
from moefacts.training.step import TrainingStep

MOE = [
    "model=moe_laptop", "model.moe.num_experts=4", "model.moe.experts_per_token=2", "model.moe.d_expert=16",
    "model.num_layers=2", "training.log_interval=1",
]  # fmt: skip
NOISY = ["model.moe.kind=keep_top_k", "model.moe.noise=true", "model.moe.renormalize=false"]


def records(run):
    lines = read_metrics(run / layout.METRICS)
    return [{k: v for k, v in record.items() if not k.startswith("throughput/")} for record in lines]


def test_every_evaluation_logs_load_importance_violation_entropy_and_drops(make_config, tmp_path):
    run = execute(make_config(f"run.dir={tmp_path}/run", *MOE, "model.moe.capacity_factor=0.5"))
    evaluations = [record for record in records(run) if "eval/seen/attribute_loss" in record]
    assert len(evaluations) == 4
    for record in evaluations:
        for layer in (0, 1):
            prefix = f"routing/layer_{layer}"
            loads = [record[f"{prefix}/load_fraction/expert_{expert}"] for expert in range(4)]
            assert sum(loads) == pytest.approx(1)
            assert record[f"{prefix}/max_violation"] == pytest.approx(max(loads) * 4 - 1, abs=1e-4)
            assert 0 <= record[f"{prefix}/router_entropy"] <= math.log(4) + 1e-6
            assert record[f"{prefix}/importance_cv"] >= 0
            assert 0.4 < record[f"{prefix}/dropped_fraction"] < 0.9
    manifest = read_manifest(run)
    assert manifest["parameters"]["active"] < manifest["parameters"]["total"]


@pytest.mark.parametrize(
    "options",
    [
        ["model.moe.balance.bias_rate=0.01"],
        [*NOISY, "model.moe.balance.load=0.1", "model.moe.balance.importance=0.1"],
        ["model.moe.kind=soft", "model.moe.renormalize=false", "model.moe.balance.token_balance=0"],
        ["model.moe.kind=expert_choice", "model.moe.renormalize=false"],
        ["model.moe.num_shared=1", "model.moe.layers=every_second"],
    ],
    ids=str,
)
def test_every_kind_trains_and_resumes_bit_for_bit(make_config, tmp_path, monkeypatch, options):
    straight = execute(make_config(f"run.dir={tmp_path}/straight", *MOE, *options))
    losses = [record["train/loss"] for record in records(straight) if "train/loss" in record]
    assert losses[-1] < losses[0]
    stopped = make_config(f"run.dir={tmp_path}/stopped", *MOE, *options)
    train = Trainer.train

    class Stop:
        def __init__(self, trainer):
            self.trainer = trainer

        @property
        def signal_number(self):
            return 15 if self.trainer.state.step == 6 else None

    monkeypatch.setattr(Trainer, "train", lambda self, m, stop, d: train(self, m, Stop(self), d))
    with pytest.raises(Interrupted):
        execute(stopped)
    monkeypatch.undo()
    execute(stopped)
    assert json.dumps(records(tmp_path / "stopped")) == json.dumps(records(straight))
    weights = [
        load_file(layout.checkpoint_folder(run, 12) / "model.safetensors") for run in (straight, tmp_path / "stopped")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_accumulated_balancing_losses_weigh_parts_by_their_tokens(make_config, tmp_path):
    """A mean over tokens, such as the z-loss, is the same however a batch is split into parts, and so is its gradient."""
    only_z_loss = ("model.moe.balance.token_balance=0", "model.moe.balance.z_loss=1.0", "training.steps=3")
    runs = [
        execute(make_config(f"run.dir={tmp_path}/{n}", *MOE, *only_z_loss, f"training.gradient_accumulation={n}"))
        for n in (1, 2)
    ]
    first, second = ([r["train/balance_loss"] for r in records(run) if "train/balance_loss" in r] for run in runs)
    assert len(first) == 3
    assert first == pytest.approx(second, rel=1e-6)


def test_a_part_counts_as_much_as_its_share_of_the_tokens(make_config, monkeypatch):
    """Biographies are sorted by length, so the first half of them has less than half of the tokens."""
    config = make_config(*MOE, "training.gradient_accumulation=2", "training.batch_size=8")
    materials = prepare(config)
    step = TrainingStep(config, materials.model, materials.batcher.device)
    batch = materials.batcher.training_batch(0, 8)
    of_parts = iter((0.0, 1.0))  # the losses of the first and the second half
    monkeypatch.setattr(step.balancing, "loss", lambda routings: torch.tensor(next(of_parts)))
    share = batch.rows(slice(4, 8)).num_targets / batch.num_targets
    assert share > 0.505
    assert step(0, batch).balance_loss.item() == pytest.approx(share, rel=1e-6)


def balance_after_training(make_config, tmp_path, name, *options):
    """The last evaluation of a Switch model after some steps at a high learning rate."""
    quick = ["training.steps=60", "training.learning_rate=2e-2", "evaluation.interval=60", "model.moe.num_experts=8"]
    config = make_config(f"run.dir={tmp_path}/{name}", *MOE, *quick, "model.moe.balance.token_balance=0",
                         "model.moe.balance.z_loss=0", "model.moe.experts_per_token=1", "model.moe.kind=switch",
                         "model.moe.renormalize=false", *options)  # fmt: skip
    return records(execute(config))[-1]


@pytest.mark.parametrize(
    ("balance", "measure"),
    [
        ("model.moe.balance.importance=1", "importance_cv"),
        ("model.moe.balance.token_balance=0.3", "max_violation"),
        ("model.moe.balance.bias_rate=0.1", "max_violation"),
    ],
)
def test_balancing_balances(make_config, tmp_path, balance, measure):
    without = balance_after_training(make_config, tmp_path, "without")[f"routing/layer_0/{measure}"]
    assert balance_after_training(make_config, tmp_path, "with", balance)[f"routing/layer_0/{measure}"] < 0.7 * without


def test_weights_of_losses_add_up(make_config):
    config = make_config(*MOE, "model.moe.balance.token_balance=0.5", "model.moe.balance.z_loss=0.25").model
    model = build_model(config, 40, seed=0)
    routings = model(torch.randint(40, (2, 9))).routings
    from moefacts.models.routing_losses import token_balance_loss, z_loss

    expected = sum(0.5 * token_balance_loss(r) + 0.25 * z_loss(r) for r in routings.values())
    assert Balancing(model).loss(routings).item() == pytest.approx(expected.item())
    loads = {layer: LoadSums.of(routing) for layer, routing in routings.items()}
    assert set(summarize_loads(loads)) >= {
        "routing/layer_0/importance_cv",
        "routing/layer_1/load_fraction/expert_3",
    }
