"""The simulations of a study: their folders and states, and what the finished ones contain.

A folder is named by all that determines its content and appears when the simulation is done, so that a study which is
started again runs only what is missing.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from moefacts.errors import UserError
from moefacts.experiments.engine.grid import ELSEWHERE, LOGS, TO_DO, Plan
from moefacts.experiments.engine.study import FinishedSimulation, Simulation, SimulationRecord
from moefacts.runs import layout
from moefacts.runs.manifest import FAILED, FINISHED, read_manifest
from moefacts.runs.tables import RECALL
from moefacts.runs.temporary import is_being_written

CURVES_TABLE = "curves.csv"


@dataclass(frozen=True)
class PlannedSimulation:
    """A simulation of a study, with its folder and state."""

    simulation: Simulation
    path: Path
    log: Path  # the traceback if it failed
    state: str


def planned_simulations(plan: Plan) -> list[PlannedSimulation]:
    """The simulations of a plan with their present states; one that failed has left a log."""
    found = []
    for simulation in plan.study.simulations.get(plan.scale, ()):
        told = json.dumps(simulation.settings, sort_keys=True)
        digest = hashlib.sha256(told.encode()).hexdigest()[:8]
        path = plan.out / f"{simulation.name.replace('_', '-')}-seed{simulation.seed}-{digest}"
        log = plan.out / LOGS / f"{path.name}.log"
        found.append(PlannedSimulation(simulation, path, log, _state(path, log)))
    return found


def _state(path: Path, log: Path) -> str:
    if (path / layout.MANIFEST).exists():
        return FINISHED
    if is_being_written(path):
        return ELSEWHERE
    return FAILED if log.exists() and log.stat().st_size else TO_DO


def read_simulations(plan: Plan) -> tuple[list[FinishedSimulation], list[dict[str, str]]]:
    """The finished simulations, and the name, state and log of every other one."""
    finished, missing = [], []
    for planned in planned_simulations(plan):
        state, simulation = planned.state, planned.simulation
        if state == FINISHED:
            try:
                manifest, table = read_manifest(planned.path), RECALL.read(planned.path)
                if table is None:
                    raise UserError(f"{RECALL.path(planned.path)} is missing")
            except UserError as error:
                state = f"damaged: {error}; remove {planned.path} to make it again"
            else:
                measures = dict(simulation.measure(table)) | {"timing": {"wall_seconds": manifest.get("wall_seconds")}}
                record = SimulationRecord(planned.path, manifest, table)
                labels = {"simulation": simulation.name}
                finished.append(FinishedSimulation(labels, record, measures, simulation.seed))
                continue
        log = str(planned.log) if state == FAILED else ""
        missing.append({"run": planned.path.name, "state": state, "log": log})
    return finished, missing


def curves(simulations: Sequence[FinishedSimulation]) -> pd.DataFrame:
    """Accuracy over steps with one row per simulation, arm, group and step, and one column per seed."""
    tables = [one.record.table.assign(**one.labels, seed=one.seed) for one in simulations]
    together = pd.concat(tables, ignore_index=True)
    return together.pivot_table(
        index=["simulation", "arm", "group", "step"], columns="seed", values="accuracy", sort=False
    )
