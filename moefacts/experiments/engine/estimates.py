"""How many tokens and how much time a grid takes: from finished runs of the same model, or from a few seconds of it."""

import contextlib
import copy
import io
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moefacts.config.schema import RunConfig
from moefacts.config.sections import PatchingConfig
from moefacts.experiments.engine.grid import Plan, PlannedRun
from moefacts.runs import keys, layout
from moefacts.runs.manifest import FINISHED, read_manifest
from moefacts.runs.records import read_metrics

# Steps, biographies a step, biographies an evaluation: a first look at any model, and a better one at a quick model.
_FIRST_LOOK = (2, 4, 8)
_BETTER_LOOK_STEPS = 8
_QUICK_SECONDS = 2.0
_SECONDS_TO_START = 2.0  # of every run: population, model, evaluation biographies
_PLATEAU_SHARE = 0.25  # of a run that does not stop after its plateau
_NEAR_SHARE = 0.5  # of the plateau, its end counts as near


@dataclass(frozen=True)
class Speed:
    """What a run of one model costs."""

    tokens_per_biography: float
    seconds_per_token: float
    seconds_per_evaluation: float  # of one biography of one cohort
    source: str

    def tokens(self, run: PlannedRun) -> float:
        """How many tokens a run trains on."""
        return run.expected_steps * run.config.training.batch_size * self.tokens_per_biography

    def seconds(self, run: PlannedRun) -> float:
        """How long it takes alone."""
        evaluated = _evaluations(run) * run.config.evaluation.biographies
        return (
            _SECONDS_TO_START
            + self.tokens(run) * self.seconds_per_token
            + evaluated * self.seconds_per_evaluation
        )  # fmt: skip


def _evaluations(run: PlannedRun) -> float:
    """How many cohorts a run evaluates, if its plateau is as long as the constants above say."""
    evaluation, steps = run.config.evaluation, run.expected_steps
    plateau = steps if run.config.training.stop_after_plateau is not None else _PLATEAU_SHARE * steps
    near = _NEAR_SHARE * plateau
    early = (plateau - near) / (evaluation.interval_early or evaluation.interval)
    seen = early + near / evaluation.interval + (steps - plateau) / evaluation.interval_after_plateau
    unseen = seen if evaluation.interval_unseen is None else min(seen, steps / evaluation.interval_unseen)
    return seen + unseen + 3  # both cohorts at the first step, unseen people at the last


@dataclass(frozen=True)
class Estimate:
    """Tokens and seconds of what is to run, ``jobs`` at a time; ``sources`` say where the speeds are from."""

    seconds: list[tuple[PlannedRun, float]]
    tokens: list[tuple[PlannedRun, float]]
    jobs: int
    sources: list[str]

    def of_runs(self, paths: Sequence[Path]) -> "Estimate":
        """What is left of it when only the runs in ``paths`` are to run."""
        seconds, tokens = ([pair for pair in pairs if pair[0].path in paths] for pairs in (self.seconds, self.tokens))
        return replace(self, seconds=seconds, tokens=tokens)

    @property
    def total_seconds(self) -> float:
        """Wall time: equally shared, but never less than the longest run."""
        alone = [seconds for _, seconds in self.seconds]
        return max(sum(alone) / self.jobs, max(alone, default=0.0))

    @property
    def total_tokens(self) -> float:
        """Of all runs."""
        return sum(tokens for _, tokens in self.tokens)


def estimate(plan: Plan, runs: Sequence[PlannedRun], jobs: int, tried: dict[str, Speed]) -> Estimate:
    """Estimate ``runs`` of ``plan``; models without a finished run in its folder are tried for a few seconds.

    ``tried`` keeps what was tried, for the next study.
    """
    speeds: dict[str, Speed] = {}
    for run in runs:
        model = _sizes(run.config)
        if model not in speeds:
            found = _speed_of_finished(plan, model) or tried.get(model)
            speeds[model] = found or tried.setdefault(model, _measured_speed(run.config))
    pairs = [(run, speeds[_sizes(run.config)]) for run in runs]
    return Estimate(
        [(run, speed.seconds(run)) for run, speed in pairs],
        [(run, speed.tokens(run)) for run, speed in pairs],
        max(1, min(jobs, len(runs))),
        [f"{model}: {speed.source}" for model, speed in speeds.items()],
    )


def _sizes(config: RunConfig) -> str:
    """The model, as far as its speed goes."""
    model = config.model
    experts = "" if model.moe is None else f", {model.moe.num_experts} experts of width {model.moe.d_expert}"
    return f"{model.preset} ({model.mixer}, {model.num_layers} layers of width {model.d_model}{experts})"


def _speed_of_finished(plan: Plan, model: str) -> Speed | None:
    """All the time of the finished runs over all their tokens: their evaluations are in it."""
    tokens = seconds = biographies = 0.0
    runs = [run for run in plan.distinct(FINISHED) if _sizes(run.config) == model]
    for run in runs:
        manifest = read_manifest(run.path)
        tokens += manifest.get("tokens", 0)
        seconds += manifest.get("wall_seconds", 0.0)
        biographies += manifest.get("last_step", 0) * run.config.training.batch_size
    if not tokens or not seconds:
        return None
    source = f"{tokens / seconds:,.0f} tokens/s, evaluations included, in {len(runs)} finished runs"
    return Speed(tokens / biographies, seconds / tokens, 0.0, source)


def _measured_speed(config: RunConfig) -> Speed:
    speed, took = _try(config, *_FIRST_LOOK)
    if took < _QUICK_SECONDS:
        better = (_BETTER_LOOK_STEPS, config.training.batch_size, config.evaluation.biographies)
        speed, _ = _try(config, *better)
    return speed


def _try(config: RunConfig, steps: int, batch_size: int, biographies: int) -> tuple[Speed, float]:
    """Train a run of a few steps in a folder that vanishes."""
    from moefacts.experiments.tasks.train import execute
    from moefacts.training.interrupt import Interrupted

    trial = copy.deepcopy(config)
    training, trial.evaluation.biographies, trial.wandb.mode = trial.training, biographies, "disabled"
    training.steps, training.batch_size, training.gradient_accumulation, training.log_interval = steps, batch_size, 1, 1
    training.stop_after_plateau = training.stop_at_accuracy = None
    training.learning_rate = training.final_learning_rate = 0.0  # a trial must not diverge
    trial.patching = PatchingConfig()  # what it needs may not be there yet; with it a step takes longer
    trial.evaluation.interval_early = trial.evaluation.interval_unseen = None
    trial.evaluation.interval = trial.evaluation.interval_after_plateau = steps  # one before, one after
    with tempfile.TemporaryDirectory() as folder:
        trial.run.root, trial.run.dir = folder, None
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                path = execute(trial)
        except Interrupted as stopped:
            raise Interrupted(stopped.signal_number, None) from None
        manifest, records = read_manifest(path), read_metrics(Path(path) / layout.METRICS)
    speeds = [r[keys.TOKENS_PER_SECOND] for r in records if keys.TOKENS_PER_SECOND in r]
    speed = statistics.median(speeds[1:] or speeds)
    wall, tokens = manifest["wall_seconds"], manifest["tokens"]
    evaluating = max(0.0, wall - tokens / speed) / (2 * 2 * biographies)  # two cohorts, before and after
    source = f"{speed:,.0f} tokens/s in a trial of {steps} steps of {batch_size} biographies"
    return Speed(tokens / (steps * batch_size), 1 / speed, evaluating, source), wall
