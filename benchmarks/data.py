"""The time that training spends outside its steps: on assembling batches and, in a plateau-law run, on evaluation."""

import tempfile
from collections.abc import Callable
from itertools import count
from typing import Any
from unittest.mock import patch

from benchmarks.setting import Result, Row, Setting, TrainingCase
from benchmarks.timing import clock, time_side_by_side
from moefacts.experiments.studies import plateau_law
from moefacts.experiments.tasks.train import execute
from moefacts.training.loop import Trainer

ASSEMBLY_GOAL, EVALUATION_GOAL = 0.02, 0.15
_LAW_RUN = next(run for run in plateau_law.STUDY.grids["laptop"] if run.labels["size"] == 2048)


def run(setting: Setting) -> Result:
    """Measure batch assembly relative to a step, and evaluation's share of a run that stops after its plateau."""
    case = TrainingCase(setting.config())
    numbers, batcher, size = count(), case.materials.batcher, case.config.training.batch_size
    candidates = {"assembly": lambda: batcher.training_batch(next(numbers), size), "step": case.stepper()}
    timings = time_side_by_side(candidates, setting.rounds)
    share = timings["assembly"].over(timings["step"])
    return {
        "assembly_share": share.median,
        "assembly": timings["assembly"].as_milliseconds(),
        "step": timings["step"].as_milliseconds(),
        **evaluation_share(setting),
    }


def evaluation_share(setting: Setting) -> Result:
    """Measure where the time goes in a run of the study ``plateau-law`` of middle size."""
    seconds = {"_evaluate": 0.0, "train": 0.0}

    def timed(name: str) -> Callable[..., Any]:
        original = getattr(Trainer, name)

        def run(*arguments: Any) -> Any:
            started = clock()
            try:
                return original(*arguments)
            finally:
                seconds[name] += clock() - started

        return run

    with tempfile.TemporaryDirectory() as folder:
        config = setting.config(f"run.dir={folder}/run", *_LAW_RUN.overrides)
        with patch.multiple(Trainer, **{name: timed(name) for name in seconds}):
            execute(config)
    return {
        "evaluation_share": seconds["_evaluate"] / seconds["train"],
        "evaluation_seconds": seconds["_evaluate"],
        "run_seconds": seconds["train"],
    }


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    assembly, evaluation = result["assembly_share"], result["evaluation_share"]
    milliseconds = f"{result['assembly']['median_ms']:.2f} ms"
    return [
        Row(f"batch assembly / step ({milliseconds})", f"{assembly:.2%}", "< 2%", assembly < ASSEMBLY_GOAL),
        Row(
            f"evaluation / whole run of plateau-law, 2,048 people ({result['run_seconds']:.0f} s)",
            f"{evaluation:.1%}",
            "< 15%",
            evaluation < EVALUATION_GOAL,
        ),
    ]
