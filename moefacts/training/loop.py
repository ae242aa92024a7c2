"""The training loop. It exists once; studies choose its configuration, never its code."""

import time
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from moefacts.config import RunConfig
from moefacts.models.transformer import Transformer, token_losses
from moefacts.synthetic_data.batches import Batch, Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
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
        self.state = LoopState()
        self.resumed_at: int | None = None
        self.status = Status()

    def autocast(self) -> AbstractContextManager:
        """The precision that forward passes run in."""
        return precision_context(self.config.training.precision, self.device)

    def resume(self, step: int) -> None:
        """Continue from the checkpoint of ``step``; what was recorded after it will be recorded again."""
        self.state = load_checkpoint(self.run.path, step, self.model, self.optimizer)
        self.run.truncate_metrics(step)
        self.resumed_at = step

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
                    return
                if stop.signal_number is not None:
                    raise Interrupted(stop.signal_number, step)
                self._step(sinks, clock)
        finally:
            self.state.wall_seconds = time.monotonic() - started
            metrics.close()
            display.show(self.status, force=True)

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
        self.model.train()
        for sink in sinks:
            sink.log(record)
        loss, accuracy = record["eval/seen/attribute_loss"], record["eval/seen/attribute_accuracy"]
        if self.state.plateau_end is None and loss < self.config.evaluation.plateau_threshold * self.baseline:
            self.state.plateau_end = self.state.step
        self.state.last_accuracy = accuracy
        self.status.attribute_loss, self.status.accuracy = loss, accuracy
        self.status.phase = self._phase(loss)

    def _phase(self, attribute_loss: float) -> str:
        if self.state.plateau_end is not None:
            return "knowledge emerges"
        return "plateau" if attribute_loss < 1.1 * self.baseline else "learning the statistics"

    def _step(self, sinks: list[Sink], clock: "_Throughput") -> None:
        training, state = self.config.training, self.state
        batch = self.batcher.training_batch(state.step, training.batch_size)
        rate = learning_rate(state.step, training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss, attribute_loss = self._backward(batch)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
        self.optimizer.step()
        state.step += 1
        state.tokens += batch.num_targets
        clock.add(batch.num_targets)
        if state.step % training.log_interval == 0:
            self.status.loss = loss.item()
            self.status.tokens_per_second = clock.tokens_per_second()
            record = {
                "step": state.step,
                "train/loss": self.status.loss,
                "train/attribute_loss": attribute_loss.item(),
                "train/learning_rate": rate,
                "train/gradient_norm": norm.item(),
                "train/padding_share": batch.padding_share,
                "train/tokens": state.tokens,
                "throughput/tokens_per_second": self.status.tokens_per_second,
            }
            for sink in sinks:
                sink.log(record)

    def _backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Accumulate the gradient of the mean token loss; return that loss and the batch's attribute loss."""
        size = len(batch.token_BT) // self.config.training.gradient_accumulation
        total = torch.zeros((), device=self.device)
        value_total = torch.zeros((), device=self.device)
        for start in range(0, len(batch.token_BT), size):
            part = batch if size == len(batch.token_BT) else batch.rows(start, start + size)
            loss_N, is_value_N = self._losses(part)
            (loss_N.sum() / batch.num_targets).backward()
            total += loss_N.detach().sum()
            value_total += (loss_N.detach() * is_value_N).sum()
        return total / batch.num_targets, value_total / (len(batch.token_BT) * len(ATTRIBUTES))

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of every target that is not padding (or 0 on padding), and which of them are value tokens."""
        mask_N, target_N = batch.target_mask_BT.flatten(), batch.targets_BT.flatten()
        is_value_N = batch.attribute_BT[:, 1:].flatten() >= 0
        if self.device.type == "cpu" and not self.config.training.compile:
            at_N = mask_N.nonzero().squeeze(1)  # padding costs no logits
            with self.autocast():
                logits_NV = self.forward(batch.inputs_BT, at_N)
            return token_losses(logits_NV, target_N[at_N]), is_value_N[at_N]
        with self.autocast():  # static shapes, and no wait for the device to count tokens
            logits_BTV = self.forward(batch.inputs_BT)
        return token_losses(logits_BTV.flatten(0, 1), target_N) * mask_N, is_value_N


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
