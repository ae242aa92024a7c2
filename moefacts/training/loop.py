"""The training loop. It exists once; studies choose its configuration, never its code."""

import math
import time
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from moefacts.config import RunConfig
from moefacts.errors import UserError
from moefacts.models.moe import Routing
from moefacts.models.transformer import Transformer, token_losses
from moefacts.run_files import PLATEAU_CEILING
from moefacts.synthetic_data.batches import Batch, Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.randomness import stream_key
from moefacts.training.balancing import Balancing, summarize_routings
from moefacts.training.checkpoint import (
    LoopState,
    checkpoint_schedule,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from moefacts.training.evaluation import Evaluator, summarize
from moefacts.training.interrupt import Interrupted, StopRequest
from moefacts.training.logger import MetricsFile, Sink
from moefacts.training.optimizer import build_optimizer, learning_rate
from moefacts.training.progress import ProgressDisplay, Status
from moefacts.training.run_directory import RunDirectory

EVALUATED_COHORTS = ("seen", "unseen")


def precision_context(precision: str, device: torch.device) -> AbstractContextManager:
    """bf16 autocast where asked for; ``auto`` means on CUDA only (on a CPU it is many times slower)."""
    use_bf16 = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16) if use_bf16 else nullcontext()


class Trainer:
    """Trains one model on one population and writes into one run directory."""

    def __init__(self, config: RunConfig, model: Transformer, batcher: Batcher, run: RunDirectory):
        self.config = config
        self.model = model
        self.batcher = batcher
        self.run = run
        self.device = batcher.device
        self.baseline = batcher.population.no_knowledge_baseline
        self.optimizer = build_optimizer(model, config.training)
        self.forward = torch.compile(model) if config.training.compile else model
        self.schedule = checkpoint_schedule(config.checkpoints, config.training.steps)
        self.balancing = Balancing(model)
        self.state = LoopState()
        self.resumed_at: int | None = None
        self.status = Status()

    def autocast(self) -> AbstractContextManager:
        """The precision that forward passes run in."""
        return precision_context(self.config.training.precision, self.device)

    def resume(self, step: int) -> None:
        """Continue from the checkpoint of ``step``; what was recorded after it will be recorded again."""
        self.state = load_checkpoint(self.run.path, step, self.model, self.optimizer)
        self.run.truncate_metrics(self.state.records)
        self.resumed_at = step
        self._show_evaluation()

    def train(self, mirror: Sink, stop: StopRequest, display: ProgressDisplay) -> None:
        """Run until the stop rule holds.

        Raises:
            Interrupted: a signal came; the state is saved.
        """
        evaluation = self.config.evaluation
        evaluators = {
            cohort: Evaluator(self.batcher, cohort, evaluation.biographies, evaluation.batch_size)
            for cohort in EVALUATED_COHORTS
        }
        metrics = MetricsFile(self.run.path)
        sinks: list[Sink] = [metrics, mirror]
        started = time.monotonic() - self.state.wall_seconds
        clock = _Throughput()
        try:
            while True:
                step = self.state.step
                if step != self.resumed_at and (self._evaluation_is_due(step) or self._is_done(step)):
                    self._evaluate(evaluators, sinks)
                    clock.restart()
                self.status.step = step
                display.show(self.status, force=step == 0)
                done = self._is_done(step)
                if step in self.schedule or done or stop.signal_number is not None:
                    self.state.wall_seconds = time.monotonic() - started
                    metrics.sync()
                    save_checkpoint(self.run.path, self.model, self.optimizer, self.state)
                    prune_checkpoints(self.run.path, self.schedule, self.config.checkpoints.keep_optimizer)
                    clock.restart()
                if done:
                    display.show(self.status, force=True)
                    return
                if stop.signal_number is not None:
                    raise Interrupted(stop.signal_number, step)
                self._step(sinks, clock)
        finally:
            self.state.wall_seconds = time.monotonic() - started
            metrics.close()

    def _evaluation_is_due(self, step: int) -> bool:
        evaluation = self.config.evaluation
        plateau_is_over = self.state.plateau_end is not None and step > self.state.plateau_end
        return step % (evaluation.interval_after_plateau if plateau_is_over else evaluation.interval) == 0

    def _is_done(self, step: int) -> bool:
        training, state = self.config.training, self.state
        if step >= training.steps:
            return True
        if training.stop_at_accuracy is not None and state.last_accuracy >= training.stop_at_accuracy:
            return True
        margin = training.stop_after_plateau
        return margin is not None and state.plateau_end is not None and step >= state.plateau_end + margin

    def _evaluate(self, evaluators: dict[str, Evaluator], sinks: list[Sink]) -> None:
        record: dict[str, float] = {"step": self.state.step}
        self.model.eval()
        for cohort, evaluator in evaluators.items():
            record |= summarize(evaluator.measure(self.model, self.autocast()), f"eval/{cohort}")
        record |= self._routing_measures()
        self.model.train()
        self._log(record, sinks)
        loss = self.state.last_attribute_loss = record["eval/seen/attribute_loss"]
        self.state.last_accuracy = record["eval/seen/attribute_accuracy"]
        if self.state.plateau_end is None and loss < self.config.evaluation.plateau_threshold * self.baseline:
            self.state.plateau_end = self.state.step
        self._show_evaluation()

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

    @torch.no_grad()
    def _routing_measures(self) -> dict[str, float]:
        """How the routers treat the batch that comes next; nothing for a dense model."""
        if self.config.model.moe is None:
            return {}
        batch = self.batcher.training_batch(self.state.step, self.config.training.batch_size)
        with self.autocast():
            routings = self.model(batch.inputs_BT, batch.real_N, batch.real_N).routings
        return summarize_routings(routings)

    def _phase(self, attribute_loss: float) -> str:
        if self.state.plateau_end is not None:
            return "emergence"
        return "plateau" if attribute_loss < PLATEAU_CEILING * self.baseline else "statistics"

    def _step(self, sinks: list[Sink], clock: "_Throughput") -> None:
        training, state = self.config.training, self.state
        batch = self.batcher.training_batch(state.step, training.batch_size)
        rate = learning_rate(state.step, training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Router noise, the only randomness in a step, is a function of (seed, step) as everything else is.
        torch.manual_seed(stream_key(self.config.seed, "step", state.step))
        self.optimizer.zero_grad(set_to_none=True)
        measured = self._backward(batch)
        limit = math.inf if training.clip_norm is None else training.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self.optimizer.step()
        state.step += 1
        state.tokens += batch.num_targets
        clock.add(batch.num_targets)
        if state.step % training.log_interval == 0:
            self.status.tokens_per_second = clock.tokens_per_second()
            record = {
                "step": state.step,
                **{name: value.item() for name, value in measured.items()},
                "train/learning_rate": rate,
                "train/gradient_norm": norm.item(),
                "train/padding_share": batch.padding_share,
                "train/tokens": state.tokens,
                "throughput/tokens_per_second": self.status.tokens_per_second,
            }
            self.status.loss = record["train/loss"]
            self._log(record, sinks)

    def _backward(self, batch: Batch) -> dict[str, Tensor]:
        """Accumulate the gradients of the mean token loss and of the balancing losses; return what to record."""
        size = len(batch.token_BT) // self.config.training.gradient_accumulation
        sums = dict.fromkeys(("loss", "value_loss", "balance_loss"), torch.zeros((), device=self.device))
        loads: dict[int, Tensor] = {}
        for start in range(0, len(batch.token_BT), size):
            part = batch if size == len(batch.token_BT) else batch.rows(start, start + size)
            loss_N, is_value_N, routings = self._losses(part)
            mean_loss = loss_N.sum() / batch.num_targets
            balance_loss = self.balancing.loss(routings) * (part.num_targets / batch.num_targets)
            (mean_loss + balance_loss).backward()
            sums["loss"] = sums["loss"] + mean_loss.detach()
            sums["value_loss"] = sums["value_loss"] + (loss_N.detach() * is_value_N).sum()
            sums["balance_loss"] = sums["balance_loss"] + balance_loss.detach()
            for layer, routing in routings.items():
                loads[layer] = loads.get(layer, 0) + routing.load_E
        self.balancing.move_biases(loads)
        return {
            "train/loss": sums["loss"],
            "train/attribute_loss": sums["value_loss"] / (len(batch.token_BT) * len(ATTRIBUTES)),
        } | ({"train/balance_loss": sums["balance_loss"]} if loads else {})

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor, dict[int, Routing]]:
        """Loss of every target that is not padding (or 0 on padding), which of them are value tokens, the routings."""
        mask_N, target_N = batch.target_mask_BT.flatten(), batch.targets_BT.flatten()
        is_value_N = batch.attribute_BT[:, 1:].flatten() >= 0
        static_shapes = self.device.type == "cuda" or self.config.training.compile
        if self.config.model.moe is not None or not static_shapes:
            real_N = batch.real_N  # padding costs nothing and meets no router
            with self.autocast():
                output = self.forward(batch.inputs_BT, real_N, real_N)
            return token_losses(output.logits, target_N[real_N]), is_value_N[real_N], output.routings
        with self.autocast():  # no wait for the device to count tokens
            output = self.forward(batch.inputs_BT)
        return token_losses(output.logits.flatten(0, 1), target_N) * mask_N, is_value_N, output.routings


class _Throughput:
    """Tokens a second since the last restart, so that evaluations and checkpoints do not count as training."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._since, self._tokens = time.monotonic(), 0

    def add(self, tokens: int) -> None:
        self._tokens += tokens

    def tokens_per_second(self) -> float:
        return self._tokens / max(time.monotonic() - self._since, 1e-9)
