"""Run a model on prompts while parts of it are recorded, replaced or cut off, through forward hooks.

A *part* of a layer is what its attention (or recurrence) adds to the residual stream, what its MLP (or mixture) adds,
or the residual stream after it. The model's code knows nothing of this, and without a hook nothing is slower.

Shape legend: N prompts, T positions, M real tokens (row by row), D model width, V vocabulary, H heads.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from moefacts.models.kernels.causal_attention import attention_scores
from moefacts.models.moe import MixtureOfExperts
from moefacts.models.packing import Packing
from moefacts.models.transformer import Transformer
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.prompts import Prompts

ATTENTION, MLP, STATE = PARTS = ("attention", "mlp", "state")
ONLY, UP_TO, FROM = WINDOWS = ("only", "up to", "from")
Change = Callable[[Tensor], Tensor]  # of a part's values at all real tokens, (M, D)


@dataclass(frozen=True)
class Subject:
    """A model in evaluation mode, and the prompts that it is given.

    Attributes:
        model: the model.
        prompts: the prompts.
    """

    model: Transformer
    prompts: Prompts

    def __post_init__(self):
        self.model.eval()

    @cached_property
    def packing(self) -> Packing:
        """The prompts without the value and padding, so that these reach neither attention nor routers."""
        token_NT = self.prompts.token_NT
        return Packing(self.prompts.length_N, token_NT.shape[1], token_NT.device)

    def rows(self, position_N: Tensor) -> Tensor:
        """The real tokens at one position of every prompt, as indices into M."""
        width = self.prompts.token_NT.shape[1]
        return self.packing.find(torch.arange(len(position_N), device=position_N.device) * width + position_N)

    @cached_property
    def last_N(self) -> Tensor:
        """The real tokens before the value."""
        return self.rows(self.prompts.last_N)

    @cached_property
    def name_end_N(self) -> Tensor:
        """The real tokens at which names end."""
        return self.rows(self.prompts.name_end_N)

    @cached_property
    def site_M(self) -> Tensor:
        """The ``Site`` of every real token."""
        return self.prompts.site_NT.flatten().index_select(0, self.packing.real_N)

    @cached_property
    def attribute_M(self) -> Tensor:
        """The attribute that the prompt of every real token asks for."""
        attribute_N = torch.from_numpy(self.prompts.attribute_N).to(self.site_M.device)
        return attribute_N.index_select(0, self.packing.real_N // self.prompts.token_NT.shape[1])

    @torch.no_grad()
    def hidden(self) -> Tensor:
        """The normalised last hidden state of every real token, (M, D), under the hooks that are on."""
        return self.model(self.prompts.token_NT, self.packing).hidden

    @torch.no_grad()
    def probability(self, target_N: Tensor | None = None) -> Tensor:
        """The probability of the true value's first token, or of ``target_N``, after every prompt; (N,)."""
        target_N = self.prompts.target_N if target_N is None else target_N
        logits_NV = self.model.unembed(self.hidden()[self.last_N])
        return logits_NV.double().softmax(dim=1).gather(1, target_N[:, None]).squeeze(1)

    def by_attribute(self, amount_N: Tensor) -> Tensor:
        """The mean of an amount over the prompts about each attribute, shape (A,)."""
        attribute_N = torch.from_numpy(self.prompts.attribute_N).to(amount_N.device)
        return torch.stack([amount_N[attribute_N == a].double().mean() for a in range(len(ATTRIBUTES))])

    def changed(self, layer: int, part: str, change: Change) -> AbstractContextManager[None]:
        """A context in which the values of a part at all real tokens are what ``change`` makes of them."""
        return _changed(_place(self.model, layer, part), change)

    def set_to(self, layer: int, part: str, row_R: Tensor, value_RD: Tensor) -> Any:
        """``changed`` that sets the values at some real tokens."""
        return self.changed(layer, part, lambda x_MD: x_MD.index_copy(0, row_R, value_RD.to(x_MD.dtype)))

    @torch.no_grad()
    def recorded(self) -> dict[tuple[int, str], Tensor]:
        """The values of all parts at all real tokens: (layer, part) -> (M, D)."""
        found: dict[tuple[int, str], Tensor] = {}

        def keep(place: tuple[int, str]) -> Change:
            return lambda x_MD: found.setdefault(place, x_MD)

        with ExitStack() as stack:
            for layer in range(len(self.model.layers)):
                for part in PARTS:
                    stack.enter_context(self.changed(layer, part, keep((layer, part))))
            self.hidden()
        return found

    @contextmanager
    def knocked_out(self, layers: Iterable[int], blocked_NTT: Tensor) -> Iterator[None]:
        """A context in which attention in ``layers`` has no edge from queries to keys where ``blocked_NTT`` is true.

        Their scores are −∞ before the softmax (Geva et al. 2023, arXiv 2304.14767, section 4.1). An edge from a token
        to itself is never cut, so that something is left to attend to.
        """
        place_T = torch.arange(blocked_NTT.shape[1], device=blocked_NTT.device)
        blocked_NTT = blocked_NTT & (place_T[:, None] != place_T)

        def hook(mixer: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            x_MD, angles, packing, _, ask = arguments
            score_NHTT = attention_scores(x_MD, mixer.qkv.weight, angles, mixer.num_heads, packing)
            weight_NHTT = score_NHTT.masked_fill(blocked_NTT[:, None], -math.inf).softmax(dim=-1)
            return x_MD, angles, packing, weight_NHTT, ask

        with ExitStack() as stack:
            for layer in layers:
                stack.enter_context(_removed(_place(self.model, layer, ATTENTION).register_forward_pre_hook(hook)))
            yield

    @contextmanager
    def routed_as(self, layer: int, row_R: Tensor, router_input_RD: Tensor) -> Iterator[None]:
        """A context in which the router of a mixture decides about some tokens as if it saw other ones.

        The experts see what they always see. ``router_inputs`` records what routers see.
        """
        router = _router(self.model, layer)

        def hook(_: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
            return (arguments[0].index_copy(0, row_R, router_input_RD.to(arguments[0].dtype)),)

        with _removed(router.register_forward_pre_hook(hook)):
            yield

    @torch.no_grad()
    def router_inputs(self) -> dict[int, Tensor]:
        """What the routers see: layer -> (M, D); mixtures only."""
        found: dict[int, Tensor] = {}

        def keep(layer: int) -> Callable[..., None]:
            return lambda _, arguments: found.update({layer: arguments[0]})

        with ExitStack() as stack:
            for number in mixture_layers(self.model):
                stack.enter_context(_removed(_router(self.model, number).register_forward_pre_hook(keep(number))))
            self.hidden()
        return found


def mixture_layers(model: Transformer) -> list[int]:
    """The numbers of the layers that are mixtures of experts."""
    return [number for number, layer in enumerate(model.layers) if isinstance(layer.feed_forward, MixtureOfExperts)]


def relative_change(subject: Subject, clean_A: Tensor, *, least: float = 1e-30) -> Tensor:
    """(p under the hooks that are on − p) / p, of the mean probability p of each attribute's prompts, shape (A,)."""
    return (subject.by_attribute(subject.probability()) - clean_A) / clean_A.clamp_min(least)


def windows(num_layers: int) -> Iterator[tuple[str, int, range]]:
    """Windows of layers: each layer alone, all up to it, and it and all after; (name, layer, layers)."""
    for layer in range(num_layers):
        yield ONLY, layer, range(layer, layer + 1)
        yield UP_TO, layer, range(layer + 1)
        yield FROM, layer, range(layer, num_layers)


def _place(model: Transformer, layer: int, part: str) -> nn.Module:
    name = {ATTENTION: ".mixer", MLP: ".feed_forward", STATE: ""}[part]
    return model.get_submodule(f"layers.{layer}{name}")


def _router(model: Transformer, layer: int) -> nn.Module:
    return model.get_submodule(f"layers.{layer}.feed_forward.router")


def state_changed(model: Transformer, state: int, change: Change) -> AbstractContextManager[None]:
    """A context in which a hidden state is what ``change`` makes of it: 0 is the embedding, L that after layer L."""
    return _changed(model.embedding if state == 0 else _place(model, state - 1, STATE), change)


@contextmanager
def _changed(module: nn.Module, change: Change) -> Iterator[None]:
    def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, Tensor):
            return change(output)
        changed = (change(output[0]), *output[1:])
        return type(output)(*changed) if hasattr(output, "_fields") else changed  # a layer's is a named tuple

    with _removed(module.register_forward_hook(hook)):
        yield


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()
