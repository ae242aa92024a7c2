"""The training loop. There is only this one; studies choose its configuration and do not change its code."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.models.routing_losses import LoadSums
from moefacts.models.transformer import ModelOutput, Transformer
from moefacts.runs import keys
from moefacts.runs.thresholds import PLATEAU_CEILING
from moefacts.synthetic_data.batches import Batcher
from moefacts.training.checkpoint import (
    LoopState,
    checkpoint_schedule,
    load_checkpoint,
    prune_checkpoints,
    remove_checkpoint,
    save_checkpoint,
)
from moefacts.training.curriculum import Curriculum
from moefacts.training.distributed import agreed_signal, is_main
from moefacts.training.evaluation import Evaluator, ValueMeasures
from moefacts.training.evaluators import cohort_evaluators, evaluations_of, plateau_key
from moefacts.training.finetuning.self_replay import batcher_of_training
from moefacts.training.interrupt import Interrupted, StopRequest
from moefacts.training.logger import Sink, open_record
from moefacts.training.moment import Moment
from moefacts.training.patching import Patch
from moefacts.training.progress import ProgressDisplay, Status
from moefacts.training.run_directory import RunDirectory
from moefacts.training.step import TrainingStep

# Evaluations must not miss the plateau's start, where the loss comes within 10% of the baseline, nor its end. The
# plateau is 2 to 5% above the baseline (study, section 2), so 3 to 6% above a threshold of 0.99. Once the start has
# been evaluated, the end may be near when training batches are within 2% of the threshold. Their losses are averaged
# over about four logged batches, because a single one has a noise of about 1%.
_NEAR_THE_END = 1.02
_SHARE_OF_NEWEST = 0.25


class Trainer:
    """Trains one model on one population and writes into one run directory."""

    def __init__(
        self, config: RunConfig, model: Transformer, batcher: Batcher, run: RunDirectory, patch: Patch | None = None
    ):
        self.config = config
        self.model = model
        self.batcher = batcher
        self.run = run
        self.device = batcher.device
        self.baseline = batcher.population.no_knowledge_baseline
        self.training_batcher = batcher_of_training(config, model, batcher)
        self.step = TrainingStep(config, model, self.device, patch, batcher)
        self.curriculum = Curriculum(config, batcher)
        self.evaluators = cohort_evaluators(config, batcher)
        self.evaluations = evaluations_of(config, batcher, self.evaluators, self.curriculum)
        self.schedule = checkpoint_schedule(config.checkpoints, config.training.steps)
        self.state = LoopState()
        self.resumed_at: int | None = None
        self.status = Status()
        self._stop: StopRequest | None = None

    def resume(self, step: int) -> None:
        """Continue from the checkpoint of ``step``. Records written after it are dropped and will be written again."""
        self.state = load_checkpoint(self.run.path, step, self.model, self.step.optimizer)
        self.run.truncate_metrics(self.state.records)
        self.resumed_at = step
        self._show_evaluation()

    def train(self, mirror: Sink, stop: StopRequest, display: ProgressDisplay) -> None:
        """Train until the last step or until a stop rule applies.

        Raises:
            Interrupted: a signal was received; the state is saved.
        """
        self._stop = stop
        metrics = open_record(self.run.path)
        sinks: list[Sink] = [metrics, mirror]
        started = time.monotonic() - self.state.wall_seconds
        clock = _Throughput()
        try:
            while True:
                step = self.state.step
                is_new = step != self.resumed_at and (self._evaluation_is_due(step) or self._is_done(step))
                if is_new or self.state.lacks_evaluation:
                    self._evaluate_or_note(sinks)
                    clock.restart()
                self.status.step = step
                display.show(self.status, force=step == 0)
                done = self._is_done(step) and not self.state.lacks_evaluation
                signal_number = agreed_signal(stop.signal_number)
                kept = self._kept_steps
                if step in kept or done or signal_number is not None:
                    self.state.wall_seconds = time.monotonic() - started
                    metrics.sync()
                    save_checkpoint(self.run.path, self.model, self.step.optimizer, self.state)
                    if is_main():
                        prune_checkpoints(self.run.path, kept, self.config.checkpoints.keep_optimizer)
                    clock.restart()
                if done:
                    display.show(self.status, force=True)
                    return
                if signal_number is not None:
                    raise Interrupted(signal_number, step)
                self._step(sinks, clock)
        finally:
            self.state.wall_seconds = time.monotonic() - started
            metrics.close()

    @contextmanager
    def moment(self) -> Iterator[Moment]:
        """A context with the current model in evaluation mode, with patched attention if the run is patched.

        Every call of the model raises ``Interrupted`` when a signal has been received while the run trains, because an
        evaluation can take longer than a scheduler waits.
        """
        step, autocast = self.state.step, self.step.autocast
        predict = self._unless_stopped(self.step.predictor(step))

        @cache  # several evaluations may use the same cohort
        def measured(evaluator: Evaluator) -> tuple[ValueMeasures, dict[int, LoadSums]]:
            return evaluator.measure_with_loads(predict, autocast())

        def measure(evaluator: Evaluator) -> ValueMeasures:
            return measured(evaluator)[0]

        def loads(evaluator: Evaluator) -> dict[int, LoadSums]:
            return measured(evaluator)[1]

        self.model.eval()
        try:
            yield Moment(step, self._is_done(step), self._num_active, measure, loads)
        finally:
            self.model.train()

    @property
    def _kept_steps(self) -> set[int]:
        """The steps of the checkpoints to keep: those on schedule, and the plateau's end, where knowledge is probed."""
        end = self.state.plateau_end
        return self.schedule if end is None else self.schedule | {end}

    def _unless_stopped(self, predict: Callable[..., ModelOutput]) -> Callable[..., ModelOutput]:
        def checked(*arguments: Any, **options: Any) -> ModelOutput:
            number = None if self._stop is None else agreed_signal(self._stop.signal_number)
            if number is not None:
                raise Interrupted(number, self.state.step)
            return predict(*arguments, **options)

        return checked

    def _evaluation_is_due(self, step: int) -> bool:
        evaluation, state = self.config.evaluation, self.state
        if step in evaluation.also_at:
            return True
        if state.plateau_end is not None and step > state.plateau_end:
            return step % evaluation.interval_after_plateau == 0
        on_plateau = (
            state.last_attribute_loss is not None and state.last_attribute_loss < PLATEAU_CEILING * self.baseline
        )
        next_mark = evaluation.plateau_threshold * _NEAR_THE_END if on_plateau else PLATEAU_CEILING
        is_far = state.running_attribute_loss is None or state.running_attribute_loss > next_mark * self.baseline
        return step % ((is_far and evaluation.interval_early) or evaluation.interval) == 0

    def _is_done(self, step: int) -> bool:
        training, state = self.config.training, self.state
        if step >= training.steps:
            return True
        if training.stop_at_accuracy is not None and state.last_accuracy >= training.stop_at_accuracy:
            return True
        margin = training.stop_after_plateau
        return margin is not None and state.plateau_end is not None and step >= state.plateau_end + margin

    def _evaluate_or_note(self, sinks: list[Sink]) -> None:
        """Evaluate; if a signal ends this early, leave the state as it was, with the note that the evaluation lacks."""
        before, was_lacking = copy.deepcopy(self.state), self.state.lacks_evaluation
        try:
            self._evaluate(sinks)
        except Interrupted:
            self.state = replace(before, lacks_evaluation=True)
            return
        self.state.lacks_evaluation = False
        if was_lacking and self.state.step in self.schedule and is_main():
            remove_checkpoint(self.run.path, self.state.step)  # it is saved again, as in a run without the signal

    def _evaluate(self, sinks: list[Sink]) -> None:
        state = self.state
        with self.moment() as moment:
            first, *rest = self.evaluations
            record: dict[str, float] = {keys.STEP: state.step} | first(moment)
            state.last_attribute_loss = record[plateau_key(self.config, keys.ATTRIBUTE_LOSS)]
            state.last_accuracy = record[plateau_key(self.config, keys.ATTRIBUTE_ACCURACY)]
            has_ended = state.last_attribute_loss < self.config.evaluation.plateau_threshold * self.baseline
            if state.plateau_end is None and has_ended:
                state.plateau_end = state.step
            moment = replace(moment, is_last=self._is_done(state.step))  # the plateau's end may have ended training
            for evaluation in rest:
                record |= evaluation(moment)
        self._log(record, sinks)
        if self.curriculum.is_ready(record):
            state.widening_steps.append(state.step)
        self._show_evaluation()

    @property
    def _num_active(self) -> int | None:
        return self.curriculum.num_active(self.state.widening_steps)

    def _log(self, record: dict[str, float], sinks: list[Sink]) -> None:
        bad = [name for name, value in record.items() if not math.isfinite(value)]
        if bad:
            raise UserError(
                f"training diverged: {bad[0]} is {record[bad[0]]} at step {self.state.step}; "
                "lower training.learning_rate, or set training.clip_norm"
            )
        for sink in sinks:
            sink.log(record)
        self.state.records += 1

    def _show_evaluation(self) -> None:
        loss, self.status.accuracy = self.state.last_attribute_loss, self.state.last_accuracy
        self.status.attribute_loss = loss
        self.status.phase = "start" if loss is None else self._phase(loss)

    def _phase(self, attribute_loss: float) -> str:
        if self.state.plateau_end is not None:
            return "emergence"
        return "plateau" if attribute_loss < PLATEAU_CEILING * self.baseline else "statistics"

    def _step(self, sinks: list[Sink], clock: "_Throughput") -> None:
        training, state = self.config.training, self.state
        batch = self.training_batcher.training_batch(state.step, training.batch_size, self._num_active)
        measures = self.step(state.step, batch)
        state.step += 1
        state.tokens += batch.num_targets
        clock.add(batch.num_targets)
        if state.step % training.log_interval == 0:
            values = measures.record()  # waits for the device, so that the speed is right
            self.status.tokens_per_second = clock.tokens_per_second()
            self.status.loss = values[keys.TRAIN_LOSS]
            self._follow(values[keys.TRAIN_ATTRIBUTE_LOSS])
            throughput = {keys.TOKENS_PER_SECOND: self.status.tokens_per_second}
            counts = {keys.TRAIN_PADDING_SHARE: batch.padding_share, keys.TRAIN_TOKENS: state.tokens}
            self._log({keys.STEP: state.step} | values | counts | throughput, sinks)

    def _follow(self, attribute_loss: float) -> None:
        """Update the running average of training losses, in which noise does not hide the plateau's end."""
        before = self.state.running_attribute_loss
        share = 1.0 if before is None else _SHARE_OF_NEWEST
        self.state.running_attribute_loss = share * attribute_loss + (1 - share) * (before or 0.0)


class _Throughput:
    """Tokens per second since the last restart, so that evaluations and checkpoints do not count as training."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._since, self._tokens = time.monotonic(), 0

    def add(self, tokens: int) -> None:
        self._tokens += tokens

    def tokens_per_second(self) -> float:
        return self._tokens / max(time.monotonic() - self._since, 1e-9)
