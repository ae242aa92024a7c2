"""Small settings that all tests share. Each process uses one thread, so that two of them do not compete for cores."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # or the compiler starts processes that import torch again

import torch

from moefacts.config.presets import compose
from moefacts.config.schema import RunConfig
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.population import Population, build_population
from moefacts.synthetic_data.tokenizer import build_tokenizer

torch.set_num_threads(1)

# The same examples every time: whether main passes must not be chance. New ones are looked for by `make torture`, or by
# --hypothesis-profile=default. No example has a time limit, which a busy machine exceeds.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")

TINY = [
    "population.size=48",
    "population.unseen=32",
    "population.new=8",
    *(f"population.pools.{pool}=12" for pool in ("first_names", "middle_names", "last_names")),
    *(f"population.pools.{pool}=8" for pool in ("cities", "universities", "majors", "companies")),
    "population.pools.years=2",
    "model.num_layers=1",
    "model.d_model=32",
    "model.num_heads=2",
    "model.d_hidden=64",
    "training.steps=12",
    "training.batch_size=8",
    "evaluation.biographies=32",
    "evaluation.interval=4",
    "checkpoints.interval=4",
]


def tiny_config(*overrides: str) -> RunConfig:
    """A configuration that trains in about a second."""
    return compose([*TINY, *overrides])


@pytest.fixture
def make_config():
    """Compose the tiny configuration with overrides."""
    return tiny_config


@pytest.fixture(scope="session")
def population() -> Population:
    return build_population(tiny_config().population, seed=0)


@pytest.fixture(scope="session")
def batcher(population) -> Batcher:
    tokenizer = build_tokenizer("word", population.pools, population.templates)
    return Batcher(population, tokenizer, torch.device("cpu"))


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory) -> Path:
    """A tiny run that is trained once, and only copied."""
    from moefacts.experiments.tasks.train import execute

    path = tmp_path_factory.mktemp("runs") / "finished"
    return execute(tiny_config(f"run.dir={path}"))


@pytest.fixture
def finished_run(trained_once, tmp_path_factory) -> Path:
    """A copy of a finished tiny run. What a test writes into it, no other test sees."""
    return shutil.copytree(trained_once, tmp_path_factory.mktemp("copy") / "finished")


@pytest.fixture
def quick_figures(monkeypatch):
    """Figures are drawn without a layout, and their files are empty: both take most of the time of a report."""
    from matplotlib import pyplot

    from moefacts.analysis import figures
    from moefacts.runs.durable import write_durably

    def drawn(figure, folder, name, caption):
        figure.set_layout_engine("none")
        figure.draw_without_rendering()
        pyplot.close(figure)
        for kind in ("png", "pdf"):
            write_durably(folder / f"{name}.{kind}", b"")
        return figures.Drawing(name, caption, "<svg></svg>")

    monkeypatch.setattr(figures, "save_figure", drawn)


@pytest.fixture
def fails(monkeypatch, capsys):
    """Run a command that must fail with exit code 2 and exactly one line on stderr, and return the line."""
    from moefacts.cli import app as cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["moefacts", *map(str, arguments)])
        capsys.readouterr()  # of commands before it
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        assert exit_info.value.code == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("run  step")]
        assert len(lines) == 1, lines
        return lines[0]

    return run
