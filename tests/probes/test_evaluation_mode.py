"""Whatever reads a trained model has it in evaluation mode: a noisy router would otherwise answer by chance."""

import shutil

import pytest

from moefacts.config.presets import compose
from moefacts.experiments.tasks import export
from moefacts.experiments.tasks.export import export_run
from moefacts.experiments.tasks.finetuning import finetuning_overrides
from moefacts.experiments.tasks.materials import load_run
from moefacts.experiments.tasks.probe import probe_run
from moefacts.experiments.tasks.train import execute
from moefacts.models.transformer import Transformer
from moefacts.probes.ask import ask
from moefacts.runs import tables
from moefacts.runs.reader import read_run
from tests.conftest import tiny_config

NOISY = [
    "model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16", "model.activation=swiglu",
    "model.moe.kind=keep_top_k", "model.moe.noise=true", "checkpoints.interval=12",
    "evaluation.interval_control=12",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return execute(tiny_config(*NOISY, f"run.dir={tmp_path_factory.mktemp('runs') / 'run'}"))


@pytest.fixture
def modes(monkeypatch):
    """Whether the model was in training mode, for every forward pass."""
    seen, forward = [], Transformer.forward

    def spied(self, *arguments, **options):
        modules = {module.training for module in self.modules()}
        assert len(modules) == 1
        seen.append(self.training)
        return forward(self, *arguments, **options)

    monkeypatch.setattr(Transformer, "forward", spied)
    return seen


@pytest.fixture
def careless(monkeypatch):
    """Loading a run leaves the model in training mode, so that whoever reads it has to see to it."""

    def left_training(path, step=None):
        config, loaded = load_run(path, step)
        loaded.model.train()
        return config, loaded

    monkeypatch.setattr("moefacts.experiments.tasks.probe.load_run", left_training)
    return left_training


def test_a_loaded_run(run):
    model = load_run(run)[1].model
    assert not any(module.training for module in model.modules())
    assert not any(module.training for module in load_run(run, 0)[1].model.modules())


def test_ask(run, modes, careless):
    _, loaded = careless(run)
    list(ask(loaded.model, loaded.batcher, loaded.batcher.population.full_name(0), 3))
    assert modes
    assert not any(modes)


@pytest.fixture(scope="module")
def fine_tuned_run(run):
    overrides = finetuning_overrides(run)
    values = compose(
        [*overrides, "evaluation.cohorts=[new,seen]", f"run.dir={run.parent / 'tuned'}", "training.steps=2"]
    )
    return execute(values)


@pytest.mark.parametrize("probe", tables.PROBES)
@pytest.mark.usefixtures("careless")
def test_probes(run, fine_tuned_run, modes, tmp_path, probe):
    copy = shutil.copytree(fine_tuned_run if probe in tables.FINE_TUNING else run, tmp_path / "run")
    found = read_run(copy)
    found.manifest["plateau_end"] = 8  # training was too short
    assert probe_run(found, probe) == [probe]
    assert modes
    assert not any(modes)


def test_export(run, tmp_path, monkeypatch):
    exported, choose = [], export.choose_architecture
    monkeypatch.setattr(export, "choose_architecture", lambda model: exported.append(model) or choose(model))
    export_run(run, tmp_path / "exported")
    (model,) = exported
    assert not any(module.training for module in model.modules())


def test_evaluations_of_the_loop_and_the_confidence_table(tmp_path, modes):
    config = tiny_config(*NOISY, f"run.dir={tmp_path / 'run'}")
    execute(config)
    num_steps = config.training.steps
    assert modes.count(True) == num_steps
    assert modes.count(False) > 2 * 4  # two cohorts at four steps, and the table
    assert modes[0] is modes[-1] is False  # the evaluation of step 0, and the table after the last step
