"""A compiled run computes what the eager run computes."""

import shutil

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

from moefacts.experiments.tasks.train import execute
from tests.conftest import TINY
from tests.training.comparing import records


@pytest.mark.parametrize(
    ("model", "compiled"), [("dense_laptop", {"Transformer", "padded_losses"}), ("moe_laptop", {"Transformer"})]
)
def test_what_a_compiled_run_calls_is_what_was_compiled(make_config, tmp_path, monkeypatch, model, compiled):
    """Nothing is really compiled here, so that the test is quick. The next test compiles."""
    called = set()

    def compile_by_name(function, **_):
        def run(*arguments, **options):
            called.add(getattr(function, "__name__", type(function).__name__))
            return function(*arguments, **options)

        return run

    monkeypatch.setattr(torch, "compile", compile_by_name)
    execute(make_config(f"run.dir={tmp_path}/run", f"model={model}", "training.compile=true", "training.steps=2"))
    assert called == compiled


@pytest.mark.skipif(shutil.which("g++") is None, reason="the compiler writes C++ on a CPU")
@pytest.mark.skipif(" " in torch.__file__, reason="torch calls the linker without quotes around its own folder")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor", "ignore::UserWarning:torch")
def test_a_compiled_run_has_the_losses_of_the_eager_one(make_config, tmp_path):
    """The compiler takes forward pass, backward pass and losses. Graphs are counted, to see that nothing fell back."""
    common = ("training.log_interval=1", "training.steps=3", "evaluation.interval=3", "checkpoints.interval=3")
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    runs = []
    for flag in ("false", "true"):
        assert not torch._dynamo.utils.counters["stats"]["unique_graphs"]
        runs.append(execute(make_config(f"run.dir={tmp_path}/{flag}", f"training.compile={flag}", *common)))
    counters = torch._dynamo.utils.counters
    torch.compiler.reset()
    assert counters["stats"]["unique_graphs"] >= 2  # one of the model and one of the loss, for each batch width
    assert not counters["graph_break"]
    assert counters["inductor"]
    for one, other in zip(*map(records, runs), strict=True):
        keys = one.keys() - {"train/padding_share"}  # compiled batches have fewer widths and so more padding
        assert {key: other[key] for key in keys} == pytest.approx({key: one[key] for key in keys}, rel=1e-4, abs=1e-5)


def test_what_cannot_be_compiled_ends_in_one_line(fails, tmp_path, monkeypatch):
    """As without a C++ compiler, or where the path of torch has a space."""

    def no_compiler(*_, **__):
        raise BackendCompilerFailed("inductor", OSError("g++: fatal error\nand a hundred more lines"), None)

    monkeypatch.setattr(torch, "compile", lambda *_, **__: no_compiler)
    line = fails("train", *TINY, f"run.dir={tmp_path}/run", "training.compile=true", "training.steps=2")
    assert "torch could not compile the model" in line
    assert "leave out training.compile=true" in line
    assert "hundred" not in line
