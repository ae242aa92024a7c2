"""One training step: gradients of the mean token loss and of the balancing losses, clipping, AdamW.

Shape legend: B biographies, T positions, N target tokens (without padding where the batch is packed), D model width,
V vocabulary.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from moefacts.config.schema import RunConfig
from moefacts.models.kernels.head_loss import head_loss, token_losses
from moefacts.models.moe import Routing
from moefacts.models.packing import Packing
from moefacts.models.transformer import ModelOutput, Transformer
from moefacts.runs import keys
from moefacts.synthetic_data.batches import Batch, Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.randomness import stream_key
from moefacts.training.balancing import Balancing
from moefacts.training.distributed import own_rows, process_rank, share, total, whole, world_size
from moefacts.training.methods import build_method
from moefacts.training.optimizer import build_optimizer, learning_rate
from moefacts.training.pack import pack
from moefacts.training.partial import PartialWeights
from moefacts.training.patching import Patch
from moefacts.training.uncertainty import StrangerTerm, ValueTerms


def precision_context(precision: str, device: torch.device) -> AbstractContextManager:
    """A context with bf16 autocast where asked for; ``auto`` means on CUDA only (on a CPU it is many times slower)."""
    use_bf16 = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16) if use_bf16 else nullcontext()


def padded_losses(hidden_BTD: Tensor, unembedding_VD: Tensor, target_BT: Tensor) -> Tensor:
    """Unreduced cross entropy at every position, padding included."""
    return token_losses(F.linear(hidden_BTD, unembedding_VD), target_BT)


def _seed_draws(seed: int, device: torch.device) -> None:
    """Seed what is drawn on ``device``. ``torch.manual_seed`` would go through every kind of device."""
    (torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed)(seed)


@dataclass(frozen=True)
class StepMeasures:
    """Measures of one training step. Tensors stay on the device until they are read.

    Attributes:
        loss: mean cross entropy over target tokens, in nats.
        attribute_loss: cross entropy summed over an attribute value's tokens, averaged over attributes and batch.
        balance_loss: weighted balancing losses; None for a dense model.
        gradient_norm: norm of the gradient before clipping.
        learning_rate: the learning rate of this update.
        terms: what ``uncertainty.*`` adds to the loss, by name; see ``training.uncertainty``.
    """

    loss: Tensor
    attribute_loss: Tensor
    balance_loss: Tensor | None
    gradient_norm: Tensor
    learning_rate: float
    terms: dict[str, Tensor] = field(default_factory=dict)

    def record(self) -> dict[str, float]:
        """Metrics for the record; waits for the device."""
        tensors = {"loss": self.loss, "attribute_loss": self.attribute_loss, "balance_loss": self.balance_loss}
        tensors |= self.terms
        values = {f"{keys.TRAIN}/{name}": tensor.item() for name, tensor in tensors.items() if tensor is not None}
        rest = {"learning_rate": self.learning_rate, "gradient_norm": self.gradient_norm.item()}
        return values | {f"{keys.TRAIN}/{name}": value for name, value in rest.items()}


class TrainingStep:
    """Updates a model one batch at a time. It knows nothing about run directories, records or evaluation.

    When several processes share the run, each receives the whole batch, works on its own rows, and returns the measures
    of the whole batch.
    """

    def __init__(
        self,
        config: RunConfig,
        model: Transformer,
        device: torch.device,
        patch: Patch | None = None,
        batcher: Batcher | None = None,
    ):
        self.config = config
        self.model = model
        self.patch = patch
        self.device = device
        self.method = build_method(config, model, batcher)
        self.partial = PartialWeights(model, self.method)
        self._shared = share(model, config.parallel, config.training.compile)
        self._padded_losses = torch.compile(padded_losses, dynamic=False) if config.training.compile else padded_losses
        self.optimizer = build_optimizer(model, config.training)
        self.balancing = Balancing(model)
        self.value_terms: ValueTerms | None = None
        self.strangers: StrangerTerm | None = None
        if config.uncertainty.changes_values:
            assert batcher is not None
            self.value_terms = ValueTerms(config.uncertainty, batcher.tokenizer)
        if config.uncertainty.strangers is not None:
            assert batcher is not None
            self.strangers = StrangerTerm(config, batcher)

    def autocast(self) -> AbstractContextManager:
        """A context with the precision that forward passes use."""
        return precision_context(self.config.training.precision, self.device)

    def patterns(self, step: int, token_BT: Tensor, packing: Packing) -> list[Tensor] | None:
        """The attention of the reference, if the model is patched after ``step`` updates; else None."""
        return None if self.patch is None else self.patch.patterns(step, token_BT, packing)

    def predictor(self, step: int) -> Callable[..., ModelOutput]:
        """The function that evaluations after ``step`` updates call like the model; it applies the patch, if any."""
        if self.patch is None:
            return self.model

        def predict(token_BT: Tensor, packing: Packing, at: Tensor) -> ModelOutput:
            return self.model(token_BT, packing, at, patterns=self.patterns(step, token_BT, packing))

        return predict

    def __call__(self, step: int, batch: Batch) -> StepMeasures:
        """Make the update that leads from ``step`` to ``step + 1``."""
        training = self.config.training
        rate = learning_rate(step, training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Router noise and who comes first where experts are full are the only randomness in a step. They are functions
        # of (seed, step), like everything random. Processes must not repeat each other's.
        purpose = ("step", step) if world_size() == 1 else ("step", step, process_rank(), world_size())
        _seed_draws(stream_key(self.config.seed, *purpose), self.device)
        if self.patch is not None and step == self.patch.start:
            self.optimizer.state.clear()  # its moments describe the gradients of a different network
        self.optimizer.zero_grad(set_to_none=True)
        loss, attribute_loss, balance_loss, terms = self._backward(step, batch)
        limit = math.inf if training.clip_norm is None else training.clip_norm
        self.partial.mask_gradients()
        norm = whole(torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit))
        self.optimizer.step()
        self.partial.restore()
        return StepMeasures(loss, attribute_loss, balance_loss, norm, rate, terms)

    def _backward(self, step: int, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Tensor]]:
        """Accumulate the gradients; return the loss, the attribute loss, the balancing loss and further terms."""
        size = len(batch.token_BT) // self.config.training.gradient_accumulation
        loss, value_loss, balance_loss = (torch.zeros((), device=self.device) for _ in range(3))
        loads: dict[int, Tensor] = {}
        further: dict[str, Tensor] = {}
        for start in range(0, len(batch.token_BT), size):
            part = batch.rows(slice(start, start + size))
            is_last = start + size == len(batch.token_BT)
            with nullcontext() if is_last else self._shared.gradients_kept():
                objective, loss_N, is_value_N, routings, terms = self._losses(
                    step, own_rows(part), 1 / batch.num_targets
                )
                balance = self.balancing.loss(routings) * (part.num_targets / batch.num_targets)
                # Processes average their gradients, but the gradient of the batch is their sum.
                whole_objective = objective + balance
                with self.autocast():
                    penalty = self.method.penalty(self.model, step) if is_last else None
                if penalty is not None:
                    whole_objective = whole_objective + penalty / world_size()
                for name, term in terms.items():
                    whole_objective = whole_objective + term
                    further[name] = further.get(name, 0) + term.detach()
                if self.strangers is not None and is_last:
                    with self.autocast():
                        stranger_term, record = self.strangers(self.model, step)
                    whole_objective = whole_objective + stranger_term
                    further |= record
                (whole_objective if world_size() == 1 else world_size() * whole_objective).backward()
            loss += objective.detach()
            value_loss += (loss_N * is_value_N).sum()
            balance_loss += balance.detach()
            for layer, routing in routings.items():
                loads[layer] = loads.get(layer, 0) + routing.load_E
        self.balancing.move_biases(loads)
        attribute_loss = total(value_loss) / (len(batch.token_BT) * len(ATTRIBUTES))
        further = {name: total(term) for name, term in further.items()}
        return total(loss), attribute_loss, balance_loss if loads else None, further

    def _losses(
        self, step: int, batch: Batch, scale: float
    ) -> tuple[Tensor, Tensor, Tensor, dict[int, Routing], dict[str, Tensor]]:
        """The losses of the tokens of a batch.

        Returns:
            ``scale`` times their sum, the losses, a mask of those on values, the routings, and ``scale`` times what
            ``uncertainty.*`` adds to those on values.
        """
        target_N, is_value_N = batch.targets_BT.flatten(), batch.attribute_BT[:, 1:].flatten() >= 0
        if self.config.training.compile and self.config.model.moe is None:  # masked padding keeps graph shapes few
            with self.autocast():
                hidden_BTD = self._shared.forward(batch.inputs_BT).hidden
                loss_BT = self._padded_losses(hidden_BTD, self.model.unembedding_VD, batch.targets_BT)
            loss_N = (loss_BT * batch.target_mask_BT).flatten()
            return loss_N.sum() * scale, loss_N.detach(), is_value_N, {}, {}
        packing = pack(batch)  # padding costs nothing and reaches no router
        with self.autocast():
            patterns = self.patterns(step, batch.inputs_BT, packing)
            output = self._shared.forward(batch.inputs_BT, packing, patterns=patterns)
            target_N, is_value_N = target_N[packing.real_N], is_value_N[packing.real_N]
            objective, loss_N = head_loss(output.hidden, self.model.unembedding_VD, target_N, scale)
            terms = {}
            if self.value_terms is not None:
                hidden_ND = output.hidden[is_value_N]
                terms = self.value_terms(hidden_ND, self.model.unembedding_VD, target_N[is_value_N], scale)
        return objective, loss_N, is_value_N, output.routings, terms
