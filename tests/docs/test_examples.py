"""The notebooks run on small runs, and the experiments in YAML are settings that training takes."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from moefacts.config.presets import compose
from moefacts.experiments.tasks.train import execute
from tests.conftest import tiny_config

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
EXPERIMENTS = sorted((EXAMPLES / "conf" / "experiment").glob("*.yaml"))


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    settings = ("model=moe_laptop", "model.moe.d_expert=16", "training.steps=4")
    return execute(tiny_config(*settings, f"run.dir={tmp_path_factory.mktemp('runs')}/mixture"))


@pytest.mark.filterwarnings("ignore")  # Jupyter's own
def test_notebooks_run(trained_once, mixture, tmp_path):
    """One after the other in one kernel, whose start takes longest; each begins without names."""
    whole = nbformat.v4.new_notebook()
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        (parameters,) = (cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
        parameters.source = f"RUN = {str(mixture if 'routing' in path.name else trained_once)!r}"
        whole.cells += [nbformat.v4.new_code_cell("%reset -f"), *cells]
    for number, cell in enumerate(whole.cells):
        cell.id = f"cell-{number}"
    NotebookClient(whole, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [
        output for cell in whole.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 4  # two curves, attention, the gates of one layer


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_kept_without_results(path):
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def flat(values, prefix=""):
    """The settings of a YAML file as overrides."""
    for key, value in values.items():
        if isinstance(value, dict) and prefix + key != "population.cohorts":
            yield from flat(value, f"{prefix}{key}.")
        else:
            shown = "null" if value is None else str(value).replace("'", "").replace(" ", "")
            yield f"{prefix}{key}={shown}"


@pytest.mark.filterwarnings("ignore")  # there is no screen to show figures on
def test_the_notebook_on_attention_numbers_layers_as_pages_do(mixture):
    cells = nbformat.read(EXAMPLES / "attention_and_routing.ipynb", as_version=4).cells
    names: dict[str, Any] = {"RUN": str(mixture)}
    for cell in cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            exec(cell.source, names)
    assert [axes.get_title() for axes in names["panels"][0]] == ["layer 1"]
    assert list(names["chosen"]) == ["layer 1"]
    plt.close("all")


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiments_are_settings_that_training_takes(path):
    text = path.read_text()
    values = yaml.safe_load(text)
    presets = [
        f"{group.removeprefix('override /')}={name}" for d in values.pop("defaults", []) for group, name in d.items()
    ]
    assert text.startswith("# @package _global_\n")
    assert f"+experiment={path.stem}" in text
    assert f"conf/experiment/{path.name}" in (EXAMPLES / "README.md").read_text()
    config = compose([*presets, *flat(values)])
    assert config.training.steps == values["training"]["steps"]
