"""Figures Q and R: do memories of two layers, without attention, forget as language models do when they learn more?"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from moefacts.analysis.recall import recall_measures
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import Findings, FinishedSimulation, Simulation, Study
from moefacts.experiments.studies.toy_memory.claims import CLAIMS, Toys
from moefacts.experiments.studies.toy_memory.settings import (
    KEY_VALUE,
    KEY_VALUE_SETTINGS,
    SEEDS,
    SHARED_DIRECTION,
    SHARED_DIRECTION_SETTINGS,
)
from moefacts.experiments.studies.toy_memory.toy_memory_figures import recall_over_steps

_TOYS = {
    SHARED_DIRECTION: ("The toy of Palit et al.", SHARED_DIRECTION_SETTINGS, 10.0),
    KEY_VALUE: ("The study's toy", KEY_VALUE_SETTINGS, 40.0),
}
_MORE = {
    SHARED_DIRECTION: " New values are of the second half (of both, where the panel says so). Old facts have values of "
    "the first half, and those named “values as new” of the second."
}
_COLUMNS = {
    "start": "old, before",
    "trough": "trough",
    "trough_step": "at step",
    "recovered": "recovered",
    "end": "old, at the end",
    "new_end": "new, at the end",
    "forgetting_step": "half of old forgotten (step)",
    "learning_step": "half of new learned (step)",
}


def measure(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Arm -> its measures (``analysis.recall``) in the table of one simulation."""
    measures = {}
    for arm, rows in table.groupby("arm", sort=False):
        recall = rows.pivot(index="step", columns="group", values="accuracy")
        step, old, new = (one.to_numpy() for one in (recall.index, recall["old"], recall["new"]))
        measures[str(arm)] = recall_measures(step, old, new)
    return measures


def examine(simulations: Sequence[FinishedSimulation]) -> Findings:
    """Average the measures of every arm over seeds, and prepare the curves."""
    tables, figures = [], {}
    for toy, (title, settings, _) in _TOYS.items():
        of_toy = [one for one in simulations if one.labels["simulation"] == toy]
        if not of_toy:
            continue
        rows = [[arm, *(_cell(of_toy, arm, key) for key in _COLUMNS)] for arm in settings["arms"]]
        note = f"Share of facts recalled: means over {len(of_toy)} seeds with 95% intervals."
        tables.append(Table(title, ["arm", *_COLUMNS.values()], rows, note))
        curves = pd.concat([one.record.table.assign(seed=one.seed) for one in of_toy], ignore_index=True)
        caption = f"{title}: share of facts recalled over fine-tuning, mean over seeds, and its 95% interval as a band."
        caption += _MORE.get(toy, "")
        figures[toy] = (caption, partial(recall_over_steps, curves))
    settings = {toy: settings for toy, (_, settings, _) in _TOYS.items()}
    return Findings({"settings": settings}, tables, figures, Toys(simulations))


def _cell(simulations: Sequence[FinishedSimulation], arm: str, key: str) -> str:
    mean = estimate([one.measures[arm][key] for one in simulations])
    return "never" if mean is None else mean.text()


STUDY = Study(
    name="toy-memory",
    title="Do memories of two layers forget old facts when they learn new ones, as language models do?",
    figure="Figures Q, R",
    grids={"laptop": ()},
    claims={"laptop": CLAIMS},
    examine=examine,
    simulations={
        "laptop": [
            Simulation(toy, seed, settings, measure, seconds)
            for toy, (_, settings, seconds) in _TOYS.items()
            for seed in SEEDS
        ]
    },
)
