"""A study of tiny real runs, and a command that knows it: python -m tests.experiments.engine.tiny_study reproduce tiny …"""

from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import Findings, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, above
from moefacts.experiments.studies import catalog
from tests.conftest import TINY

TINY_RUN = (*TINY, "training.steps=6", "evaluation.interval=3", "training.log_interval=1", "checkpoints.interval=2")


def examine(runs):
    losses = {run.seed: run.measures["final_attribute_loss"] for run in runs}
    table = Table("Losses", ["seed", "loss"], [[str(seed), f"{loss:.3f}"] for seed, loss in losses.items()])
    return Findings({"losses": losses}, [table], {}, losses)


def decide(losses):
    lowest = min(losses.values())
    return above(lowest, (lowest, max(losses.values())), 0.0)


def tiny_study(name="tiny", seeds=(0, 1), extra=()):
    grid = [GridRun((*TINY_RUN, f"seed={seed}", *extra), labels={"seed_label": seed}) for seed in seeds]
    claim = Claim("Losses are positive", "always", "Holds if all are above 0.", decide)
    return Study(
        name,
        "tiny runs",
        "no figure",
        {"laptop": grid, "paper": grid},
        {"laptop": (claim,), "paper": (claim,)},
        examine,
    )


STUDY = tiny_study()
LONGER = tiny_study("tiny-longer", extra=("training.steps=400", "evaluation.interval=200", "checkpoints.interval=20"))
FAILING = Study(
    "tiny-failing",
    "one of two runs diverges",
    "no figure",
    {"laptop": [GridRun((*TINY_RUN, "seed=0")), GridRun((*TINY_RUN, "seed=1", "training.learning_rate=1e12"))]},
    STUDY.claims,
    examine,
)


def add_to_catalog():
    for study in (STUDY, LONGER, FAILING):
        catalog.STUDIES[study.name] = study


if __name__ == "__main__":
    from moefacts.cli.app import main

    add_to_catalog()
    main()
