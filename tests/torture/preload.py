"""Import what commands import, once for all processes that are forked from the server."""

import matplotlib.pyplot
import torch

import moefacts.cli.app
import moefacts.experiments.tasks.export
import moefacts.experiments.tasks.probe
import moefacts.experiments.tasks.train  # noqa: F401
from moefacts.analysis import figures
from moefacts.cli.hydra_bridge import run_with_hydra  # noqa: F401
from moefacts.experiments.engine import launch, results  # noqa: F401
from tests.experiments.engine import tiny_study
from tests.torture import faulty_study


def _drawn(figure, folder, name, caption):
    """In place of ``save_figure``: everything but layout and files, which take ten times as long."""
    figure.set_layout_engine("none")
    figure.draw_without_rendering()
    matplotlib.pyplot.close(figure)
    return figures.Drawing(name, caption, "<svg></svg>")


torch.set_num_threads(1)
figures.save_figure = _drawn
faulty_study.add_to_catalog()
tiny_study.add_to_catalog()
