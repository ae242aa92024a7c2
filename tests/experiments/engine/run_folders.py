"""Run directories and plans that were made up, for tests of the engine that train nothing."""

import json

from moefacts.analysis.table import Table
from moefacts.config.loader import config_yaml
from moefacts.config.presets import compose
from moefacts.experiments.engine.grid import TO_DO, Plan, PlannedRun
from moefacts.experiments.engine.study import Findings, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict
from moefacts.runs import layout
from moefacts.runs.manifest import FINISHED
from tests.experiments.studies.made_up import made_up_run

# What an evaluated run needs to be read and measured: ten evaluations of a model that has learnt all by step 60.
LEARNT = made_up_run(GridRun(("evaluation.interval=10",)), leaves=60, last=90).record
LEARNT_MIXTURE = made_up_run(GridRun(("evaluation.interval=10", "model=moe_laptop")), leaves=60, last=90).record


def examine(runs):
    """Findings that name the runs that were examined."""
    seeds = [run.seed for run in runs]
    return Findings({"seeds": seeds}, [Table("Seeds", ["seed"], [[str(seed)] for seed in seeds])], {}, seeds)


CLAIM = Claim(
    "there are runs", "none published", "holds if there is a run", lambda seeds: Verdict("holds", f"{len(seeds)}")
)


def study_of(*grid, name="made-up", probes=()):
    return Study(name, "made-up runs", "Figure 0", {"laptop": grid, "paper": grid}, {"laptop": (CLAIM,), "paper": ()}, examine, probes)  # fmt: skip


def planned(path, *overrides, state=TO_DO, labels=None, needs=(), expected_steps=None):
    """A run of a plan in the directory ``path``, whose study need not exist."""
    config = compose([*overrides, f"run.dir='{path}'"])
    return PlannedRun(GridRun(overrides, expected_steps, labels or {}), config, path, state, tuple(needs))


def plan_of(*runs, out, prerequisites=(), overrides=(), study=None, scale="laptop"):
    study = study or study_of(*(run.grid_run for run in runs))
    return Plan(study, scale, tuple(overrides), out, runs, tuple(prerequisites))


def write_run(path, config, state=FINISHED, **entries):
    """A run directory as training leaves it, without checkpoints; ``entries`` change the manifest."""
    path.mkdir(parents=True, exist_ok=True)
    (path / layout.CONFIG).write_text(config_yaml(config))
    learnt = LEARNT if config.model.moe is None else LEARNT_MIXTURE
    write_manifest(path, **(learnt.manifest | {"state": state} | entries))
    (path / layout.METRICS).write_text("".join(json.dumps(record) + "\n" for record in learnt.records))


def write_manifest(path, **entries):
    (path / layout.MANIFEST).write_text(json.dumps({"versions": {"moefacts": "0"}} | entries))
