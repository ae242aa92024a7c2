"""Estimates of a grid's tokens and time, from finished runs of the same model or from a trial of a few seconds."""

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
from moefacts.experiments.engine.grid import BESIDE, UNDECIDED, Plan, PlannedRun
from moefacts.runs import keys, layout
from moefacts.runs.manifest import FINISHED, read_manifest
from moefacts.runs.records import read_metrics

# Every model gets a short trial (steps, biographies per step, biographies per evaluation). Quick ones get a longer one
# with their own batch; of slow ones a second tells what a step takes whatever its batch, such as updating all experts.
_FIRST_TRIAL = (2, 4, 8)
_SECOND_TRIAL = (2, 16, 8)
_LONGER_TRIAL_STEPS = 8
_QUICK_SECONDS = 2.0
_SECONDS_TO_START = 2.0  # every run builds its population, model and evaluation biographies
_PLATEAU_SHARE = 0.25  # the plateau's share of a run that does not stop after it
_NEAR_SHARE = 0.5  # the share of the plateau in which its end counts as near
_PATCHED = 1.7  # a patched step takes this many times as long: two runs by hand on a laptop, 33,100 and 19,600 tokens/s


@dataclass(frozen=True)
class Speed:
    """The cost of runs of one model."""

    tokens_per_biography: float
    seconds_per_token: float
    seconds_per_evaluation: float  # of one biography of one cohort
    source: str
    seconds_per_step: float = 0.0  # beside those of its tokens

    def tokens(self, run: PlannedRun) -> float:
        """The number of tokens that ``run`` trains on."""
        return run.expected_steps * run.config.training.batch_size * self.tokens_per_biography

    def seconds(self, run: PlannedRun) -> float:
        """The time that ``run`` takes when it runs alone, in seconds."""
        evaluated = _evaluations(run) * run.config.evaluation.biographies
        training = self.tokens(run) * self.seconds_per_token + run.expected_steps * self.seconds_per_step
        computing = training + evaluated * self.seconds_per_evaluation
        return _SECONDS_TO_START + computing * (_PATCHED if run.config.patching.is_on else 1)


def _evaluations(run: PlannedRun) -> float:
    """The number of cohort evaluations in a run whose plateau is as long as ``_PLATEAU_SHARE`` says."""
    evaluation, steps = run.config.evaluation, run.expected_steps
    plateau = steps if run.config.training.stop_after_plateau is not None else _PLATEAU_SHARE * steps
    near = _NEAR_SHARE * plateau
    early = (plateau - near) / (evaluation.interval_early or evaluation.interval)
    seen = early + near / evaluation.interval + (steps - plateau) / evaluation.interval_after_plateau
    unseen = seen if evaluation.interval_unseen is None else min(seen, steps / evaluation.interval_unseen)
    control = 0 if evaluation.interval_control is None else min(seen, steps / evaluation.interval_control) + 2
    return seen + unseen + control + 3  # both cohorts at the first step, unseen people at the last


@dataclass(frozen=True)
class Estimate:
    """Tokens and seconds of each run, with ``jobs`` runs at a time; ``sources`` say where the speeds come from."""

    seconds: list[tuple[PlannedRun, float]]
    tokens: list[tuple[PlannedRun, float]]
    jobs: int
    sources: list[str]

    def of_runs(self, runs: Sequence[PlannedRun]) -> "Estimate":
        """The estimate for ``runs`` alone. Settings of runs that were undecided may have been chosen since."""
        by_path = {run.path: run for run in runs}

        def now(run: PlannedRun) -> PlannedRun | None:
            if run.state != UNDECIDED:
                return by_path.get(run.path)
            return next((one for one in runs if one.grid_run == run.grid_run), None)

        seconds, tokens = (
            list({one.path: (one, value) for run, value in pairs if (one := now(run)) is not None}.values())
            for pairs in (self.seconds, self.tokens)
        )
        return replace(self, seconds=seconds, tokens=tokens)

    @property
    def total_seconds(self) -> float:
        """Wall time in seconds if the runs divide evenly among jobs, but at least that of the longest run."""
        alone = [seconds for _, seconds in self.seconds]
        return max(sum(alone) / self.jobs, max(alone, default=0.0))

    @property
    def total_tokens(self) -> float:
        """The number of tokens that all these runs train on."""
        return sum(tokens for _, tokens in self.tokens)


def estimate(plan: Plan, runs: Sequence[PlannedRun], jobs: int, tried: dict[str, Speed]) -> Estimate:
    """Estimate the tokens and time of ``runs``, which belong to ``plan``.

    Models without a finished run in the plan's folder get a trial of a few seconds. ``tried`` collects the results of
    trials, so that the next study need not repeat them.
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
    """The properties of the model that determine its speed, in words."""
    model = config.model
    experts = "" if model.moe is None else f", {model.moe.num_experts} experts of width {model.moe.d_expert}"
    return f"{model.preset} ({model.mixer}, {model.num_layers} layers of width {model.d_model}{experts})"


def _speed_of_finished(plan: Plan, model: str) -> Speed | None:
    """The speed of finished unpatched runs of ``model``, evaluations included; None if there are none."""
    tokens = seconds = biographies = 0.0
    of_model = [run for run in plan.distinct(FINISHED, BESIDE) if _sizes(run.config) == model]
    runs = [run for run in of_model if not run.config.patching.is_on]
    for run in runs:
        manifest = read_manifest(run.copied_from or run.path)
        tokens += manifest.get("tokens", 0)
        seconds += manifest.get("wall_seconds", 0.0)
        biographies += manifest.get("last_step", 0) * run.config.training.batch_size
    if not tokens or not seconds:
        return None
    source = f"{tokens / seconds:,.0f} tokens/s, evaluations included, in {len(runs)} finished runs"
    return Speed(tokens / biographies, seconds / tokens, 0.0, source)


def _measured_speed(config: RunConfig) -> Speed:
    speed, took = _try(config, *_FIRST_TRIAL)
    if took < _QUICK_SECONDS:
        return _try(config, _LONGER_TRIAL_STEPS, config.training.batch_size, config.evaluation.biographies)[0]
    return _with_cost_of_a_step(speed, _try(config, *_SECOND_TRIAL)[0])


def _with_cost_of_a_step(few: Speed, many: Speed) -> Speed:
    """The line through the seconds per step in the two trials, with few biographies and with more."""
    tokens = [trial[1] * few.tokens_per_biography for trial in (_FIRST_TRIAL, _SECOND_TRIAL)]
    seconds = [tokens[0] * few.seconds_per_token, tokens[1] * many.seconds_per_token]
    steepest = seconds[1] / tokens[1]  # through the origin: a step costs nothing beside its tokens
    per_token = min(max(0.0, seconds[1] - seconds[0]) / (tokens[1] - tokens[0]), steepest)
    per_step = seconds[1] - per_token * tokens[1]
    source = f"{per_step:.2g} s a step and {per_token * few.tokens_per_biography:.2g} s a biography in two trials"
    return replace(many, seconds_per_token=per_token, seconds_per_step=per_step, source=source)


def _try(config: RunConfig, steps: int, batch_size: int, biographies: int) -> tuple[Speed, float]:
    """Train a few steps in a temporary folder; return the speed and the wall time in seconds."""
    from moefacts.experiments.tasks.train import execute
    from moefacts.training.interrupt import Interrupted

    trial = copy.deepcopy(config)
    training, trial.evaluation.biographies, trial.wandb.mode = trial.training, biographies, "disabled"
    training.steps, training.batch_size, training.gradient_accumulation, training.log_interval = steps, batch_size, 1, 1
    training.stop_after_plateau = training.stop_at_accuracy = None
    training.learning_rate = training.final_learning_rate = 0.0  # a trial must not diverge
    trial.patching = PatchingConfig()  # its reference may not exist yet
    trial.evaluation.interval_early = trial.evaluation.interval_unseen = trial.evaluation.interval_control = None
    trial.evaluation.interval = trial.evaluation.interval_after_plateau = steps  # evaluate before and after
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
