"""Exported folders of models that know their people, for tests that use them as anybody would."""

import pytest

from moefacts.experiments.tasks.export import export_run
from moefacts.experiments.tasks.train import execute
from tests.conftest import tiny_config

KNOWING = [
    "population.size=4", "population.held_out_templates=1", "training.steps=400", "training.batch_size=16",
    "training.stop_at_accuracy=1.0", "evaluation.biographies=64", "evaluation.interval=20", "evaluation.interval_after_plateau=20",
    "checkpoints.interval=1000", "model.activation=swiglu", "model.d_model=64", "model.d_hidden=128",
]  # fmt: skip
MODELS = {
    "dense": [],
    "mixture": ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=64", "model.moe.num_shared=1", "model.moe.renormalize=false"],
}  # fmt: skip


@pytest.fixture
def silent(monkeypatch):
    """Let ``transformers`` look nothing up, and print nothing."""
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="session", params=MODELS)
def knowing(request, tmp_path_factory):
    """A run that knows its four people, and the folder of its export: (run, folder)."""
    folder = tmp_path_factory.mktemp("knowing")
    run = execute(tiny_config(*MODELS[request.param], *KNOWING, f"run.dir={folder}/run"))
    export_run(run, folder / "exported")
    return run, folder / "exported"
