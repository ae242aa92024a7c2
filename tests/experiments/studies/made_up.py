"""Made-up runs of a study's grid. Their configurations are real, and their curves have known phases."""

from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np

from moefacts.config.presets import compose
from moefacts.experiments.engine.results import run_measures
from moefacts.experiments.engine.study import FinishedRun
from moefacts.runs.reader import Run

BASELINE = 4.914
ATTRIBUTES = ("birth_date", "birthplace", "location", "university", "major", "company")


def replicate(grid_run):
    """Which of the seeds of its population size a run has, counted from 0."""
    return int(next(o for o in grid_run.overrides if o.startswith("seed=")).partition("=")[2]) % 100


@cache
def _compose(overrides):
    return compose(["scale=laptop", *overrides])


def made_up_run(
    grid_run, leaves, start=60, slope=0.01, last=None, collapse=0.0, extra=None, plateau=1.03, memorised=None, seed=None,
    knowledge=None,
):  # fmt: skip
    """A finished run whose loss comes near the baseline at ``start`` and leaves its plateau at ``leaves``.

    ``collapse`` says how a mixture's load ends, from 0 (even) to 1 (one expert takes everything). ``extra`` is a
    function: step -> more metrics of the evaluation at that step. ``plateau`` is the loss on the plateau over the
    baseline. The attribute loss in training is the same as in evaluation, or nearly 0 from step ``memorised`` on.
    ``seed`` replaces the seed of the grid. ``knowledge`` is a function: step -> knowledge in baselines, which is then
    measured at every evaluation.
    """
    rest = tuple(override for override in grid_run.overrides if not override.startswith("seed="))
    given = seed if seed is not None else next((int(o[5:]) for o in grid_run.overrides if o.startswith("seed=")), 0)
    settings = replace(_compose(rest), seed=given)
    config = asdict(settings)
    spacing = config["evaluation"]["interval"]
    last = last or int(leaves + 60 + 2 * spacing)
    plateau *= BASELINE
    end = leaves - (plateau - 0.99 * BASELINE) / slope
    records = []
    for step in range(0, last + 1, spacing):
        loss = 10 - (10 - plateau) * step / start if step < start else plateau
        loss = min(loss, max(plateau - slope * (step - end), 0.01)) if step > end else loss
        accuracy = float(np.clip(1 - loss / (0.99 * BASELINE), 0.01, 1))
        record = {"step": step, "eval/seen/attribute_loss_standard_error": 0.005}
        for cohort, value in (("seen", loss), ("unseen", 2 * BASELINE - loss if loss < BASELINE else loss)):
            known = accuracy if cohort == "seen" else 0.01
            for name, one in (("attribute_loss", value), ("attribute_accuracy", known), ("max_probability", 0.5), ("entropy", 1.0)):  # fmt: skip
                record[f"eval/{cohort}/{name}"] = one
                record |= {f"eval/{cohort}/{name}/{attribute}": one for attribute in ATTRIBUTES}
        if config["model"]["moe"]:
            record |= _routing(config["model"]["moe"]["num_experts"], collapse * step / last)
        if knowledge:
            control = loss + knowledge(step) * BASELINE
            record |= {f"eval/seen/control_loss/{attribute}": control for attribute in ATTRIBUTES}
            record |= {"eval/seen/control_loss": control, "eval/seen/control_difference_standard_error": 0.005}
        record |= extra(step) if extra else {}
        records.append(record)
        trained = {"train/loss": loss, "train/attribute_loss": 0.1 if memorised and step >= memorised else loss}
        records.append({"step": step, "throughput/tokens_per_second": 40_000.0} | trained)
    manifest = {
        "state": "finished",
        "no_knowledge_baseline": BASELINE,
        "no_knowledge_baseline_by_attribute": [BASELINE] * len(ATTRIBUTES),
        "parameters": {"total": 194_496, "embedding": 95_936, "active": 194_496, "non_embedding": 98_560},
        "command": "moefacts train",
        "device": "cpu",
        "versions": {"moefacts": "0"},
    }
    run = Run(Path("nowhere"), settings, manifest, records)
    return FinishedRun(grid_run.labels, run, run_measures(run))


def _routing(num_experts, share):
    load = np.full(num_experts, (1 - share) / num_experts)
    load[0] += share
    record = {}
    for layer in range(2):
        record[f"routing/layer_{layer}/max_violation"] = float(load.max() * num_experts - 1)
        record |= {f"routing/layer_{layer}/load_fraction/expert_{e}": float(one) for e, one in enumerate(load)}
    return record
