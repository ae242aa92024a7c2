"""The mixture-of-experts layer in four steps: route, dispatch, experts, combine.

Shape legend: N tokens, R of them whose output is wanted, E experts, K experts chosen per token, A assignments of a
token to an expert (N * K when every token chooses K), D model width, F expert width.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moefacts.models.architecture import MoEConfig
from moefacts.models.feed_forward import FeedForward
from moefacts.models.kernels.device import without_autocast
from moefacts.models.kernels.expert_products import expert_products
from moefacts.models.kernels.mlp import mlp
from moefacts.models.packing import picked


@dataclass(frozen=True)
class Routing:
    """What the router decided. Forward passes only return it; losses and counters are functions of it.

    Attributes:
        logits_NE: router scores without noise.
        gates_NE: softmax of the scores (for ``keep_top_k``, of the K largest only; the other gates are zero).
        expert_NK: the experts of each token, best first (for ``expert_choice``, those that the tokens would have
            chosen by their K largest gates).
        token_A, expert_A, weight_A: the token, the expert and the weight in the output of each assignment.
        kept_A: False where an expert's capacity is exceeded, so that the token skips this expert.
        noisy_logits_NE, noise_std_NE: the scores with noise and the noise's standard deviation; None without noise.
    """

    logits_NE: Tensor
    gates_NE: Tensor
    expert_NK: Tensor
    token_A: Tensor
    expert_A: Tensor
    weight_A: Tensor
    kept_A: Tensor
    noisy_logits_NE: Tensor | None = None
    noise_std_NE: Tensor | None = None

    @property
    def load_E(self) -> Tensor:
        """The number of assignments of each expert, including those over capacity."""
        num_experts = self.logits_NE.shape[1]
        return torch.zeros(num_experts, device=self.expert_A.device).index_add_(
            0, self.expert_A, torch.ones(len(self.expert_A), device=self.expert_A.device)
        )


class Router(nn.Module):
    """Scores tokens against experts and chooses, always in fp32."""

    selection_bias_E: Tensor  # used for choosing only; loss-free balancing in the training loop moves it

    def __init__(self, d_model: int, config: MoEConfig):
        super().__init__()
        self.config = config
        self.score = nn.Linear(d_model, config.num_experts, bias=False)
        self.noise = nn.Linear(d_model, config.num_experts, bias=False) if config.noise else None
        self.register_buffer("selection_bias_E", torch.zeros(config.num_experts))

    def forward(self, x_ND: Tensor) -> Routing:
        """Route every token of ``x_ND``."""
        with without_autocast(x_ND):
            x_ND = x_ND.float()
            return ROUTES[self.config.kind](self, x_ND)

    def assign(self, logits_NE: Tensor, gates_NE: Tensor, expert_NK: Tensor, **noise: Tensor) -> Routing:
        """Give every token its experts ``expert_NK``, weighted by their gates, within the experts' capacity."""
        weight_NK = gates_NE.gather(1, expert_NK)
        if self.config.renormalize:
            weight_NK = weight_NK / weight_NK.sum(dim=1, keepdim=True)
        num_tokens, num_chosen = expert_NK.shape
        token_A = torch.arange(num_tokens, device=logits_NE.device).repeat_interleave(num_chosen)
        expert_A = expert_NK.flatten()
        kept_A = self._within_capacity(expert_NK).flatten()
        return Routing(logits_NE, gates_NE, expert_NK, token_A, expert_A, weight_NK.flatten(), kept_A, **noise)

    def best(self, logits_NE: Tensor) -> Tensor:
        """The experts of the K largest scores with the selection bias, best first: (N, K)."""
        return (logits_NE + self.selection_bias_E).topk(self.config.experts_per_token, dim=1).indices

    def _within_capacity(self, expert_NK: Tensor) -> Tensor:
        """Which choices an expert takes, shape (N, K): at most ceil(c * N * K / E) for each expert.

        First choices come before second ones. Among equals chance decides, so that a token's place in the batch and the
        length of its sequence do not matter: in training a new draw for every batch, in evaluation always the same.
        Not causal: later tokens, and other sequences of the batch, may take the room of an earlier one.
        """
        if self.config.capacity_factor is None:
            return torch.ones_like(expert_NK, dtype=torch.bool)
        num_tokens, num_chosen = expert_NK.shape
        order_N = self._random_order(num_tokens, expert_NK.device)
        expert_A = expert_NK[order_N].T.flatten()  # all first choices, then all second ones
        chosen_AE = F.one_hot(expert_A, self.config.num_experts)
        place_A = chosen_AE.cumsum(dim=0).gather(1, expert_A[:, None]).squeeze(1)
        share = num_tokens * num_chosen / self.config.num_experts
        taken_A = place_A <= math.ceil(self.config.capacity_factor * share)
        return torch.empty_like(expert_NK, dtype=torch.bool).index_copy(0, order_N, taken_A.view(num_chosen, -1).T)

    def _random_order(self, num_tokens: int, device: torch.device) -> Tensor:
        if self.training:
            return torch.rand(num_tokens, device=device).argsort()
        return torch.rand(num_tokens, generator=torch.Generator().manual_seed(0)).to(device).argsort()


def top_k(router: Router, x_ND: Tensor) -> Routing:
    """The K experts of the largest scores, weighted by the softmax over all."""
    logits_NE = router.score(x_ND)
    return router.assign(logits_NE, logits_NE.softmax(dim=1), router.best(logits_NE))


def keep_top_k(router: Router, x_ND: Tensor) -> Routing:
    """The softmax over the K largest, with learned noise in training (Shazeer et al. 2017, eq. 3-5)."""
    logits_NE = noisy_NE = router.score(x_ND)
    noise = {}
    if router.noise is not None and router.training:
        std_NE = F.softplus(router.noise(x_ND))
        noisy_NE = logits_NE + torch.randn_like(logits_NE) * std_NE
        noise = {"noisy_logits_NE": noisy_NE, "noise_std_NE": std_NE}
    expert_NK = router.best(noisy_NE)
    kept_NE = torch.full_like(noisy_NE, -math.inf).scatter(1, expert_NK, noisy_NE.gather(1, expert_NK))
    return router.assign(logits_NE, kept_NE.softmax(dim=1), expert_NK, **noise)


def expert_choice(router: Router, x_ND: Tensor) -> Routing:
    """Each expert takes its N * K / E best tokens (Zhou et al. 2022).

    This is not causal: whether a token is taken depends on the scores of later tokens. Losses measured with this layer
    are therefore not those of a model that could generate text.
    """
    logits_NE = router.score(x_ND)
    num_tokens, num_experts = logits_NE.shape
    gates_NE = logits_NE.softmax(dim=1)
    num_taken = max(1, min(num_tokens, num_tokens * router.config.experts_per_token // num_experts))
    taken = gates_NE.topk(num_taken, dim=0)
    token_A = taken.indices.T.flatten()
    expert_A = torch.arange(num_experts, device=logits_NE.device).repeat_interleave(num_taken)
    expert_NK = gates_NE.topk(router.config.experts_per_token, dim=1).indices
    kept_A = torch.ones(len(token_A), dtype=torch.bool, device=logits_NE.device)
    return Routing(logits_NE, gates_NE, expert_NK, token_A, expert_A, taken.values.T.flatten(), kept_A)


# Kind -> how it routes. ``architecture.MOE_KINDS`` has the names without importing torch.
ROUTES: dict[str, Callable[[Router, Tensor], Routing]] = {
    "soft": top_k,
    "top_k": top_k,
    "switch": top_k,
    "keep_top_k": keep_top_k,
    "expert_choice": expert_choice,
}


class Experts(nn.Module):
    """E feed-forward networks of the same shape, with stacked weights."""

    def __init__(self, num_experts: int, d_model: int, d_expert: int, activation: str):
        super().__init__()
        self.activation = activation
        self.up = nn.Parameter(torch.empty(num_experts, d_expert, d_model))
        self.gate = nn.Parameter(torch.empty(num_experts, d_expert, d_model)) if activation == "swiglu" else None
        self.down = nn.Parameter(torch.empty(num_experts, d_model, d_expert))

    def forward(self, x_AD: Tensor, count_E: Tensor) -> list[Tensor]:
        """Apply each expert to its rows. Arguments and result are those of ``expert_products``."""
        return expert_products(x_AD, count_E, self.up, self.gate, self.down, self.activation)

    def one(self, x_ND: Tensor, expert: int) -> Tensor:
        """Apply one expert to all rows."""
        gate = None if self.gate is None else self.gate[expert]
        return mlp(x_ND, self.up[expert], gate, self.down[expert], self.activation)


class AddedExperts(nn.Module):
    """Experts that join a trained mixture: each adds its output for every token, times a gate of its own.

    The gate is the sigmoid of a score and does not compete with other experts', so that a mixture computes what it did
    before as long as the output of ``experts`` is zero.
    """

    def __init__(self, num_experts: int, d_model: int, d_expert: int, activation: str):
        super().__init__()
        self.score = nn.Linear(d_model, num_experts)
        self.experts = Experts(num_experts, d_model, d_expert, activation)

    def forward(self, x_ND: Tensor, row_R: Tensor | None = None) -> Tensor:
        """The gated sum of the experts' outputs for these rows, all when None."""
        x_RD = picked(x_ND, row_R)
        with without_autocast(x_RD):
            gate_RE = self.score(x_RD.float()).sigmoid().to(x_RD.dtype)
        parts = [gate_R1 * self.experts.one(x_RD, e) for e, gate_R1 in enumerate(gate_RE.split(1, dim=1))]
        return torch.stack(parts).sum(dim=0)


class MixtureOfExperts(nn.Module):
    """A mixture of experts, which replaces the feed-forward block of a decoder layer."""

    def __init__(self, d_model: int, activation: str, config: MoEConfig):
        super().__init__()
        self.config = config
        self.router = Router(d_model, config)
        self.experts = Experts(config.num_experts, d_model, config.d_expert, activation)
        shared_width = config.num_shared * config.d_expert
        self.shared = FeedForward(d_model, shared_width, activation) if config.num_shared else None
        self.added: AddedExperts | None = None
        if config.num_added:
            self.added = AddedExperts(config.num_added, d_model, config.d_expert, activation)

    def forward(self, x: Tensor, row_R: Tensor | None = None) -> tuple[Tensor, Routing]:
        """The layer's output for these rows of ``x``, all when None, and its router's decisions about all N tokens."""
        x_ND = x.flatten(0, -2)
        routing = self.router(x_ND)
        mix = self._soft if self.config.kind == "soft" else self._sparse
        mixed = mix(x_ND, routing, row_R)
        if self.shared is not None:
            mixed = mixed + self.shared(x_ND, row_R)[0]
        if self.added is not None:
            mixed = mixed + self.added(x_ND, row_R)
        return mixed.view_as(x) if row_R is None else mixed, routing

    def _soft(self, x_ND: Tensor, routing: Routing, row_R: Tensor | None) -> Tensor:
        x, gates = picked(x_ND, row_R), picked(routing.gates_NE, row_R).to(x_ND.dtype)
        return sum(  # type: ignore[return-value]
            gates[..., expert, None] * self.experts.one(x, expert) for expert in range(self.config.num_experts)
        )

    def _sparse(self, x_ND: Tensor, routing: Routing, row_R: Tensor | None) -> Tensor:
        order_A, count_E = dispatch(routing, row_R)
        token_A = routing.token_A[order_A]
        parts = self.experts(x_ND.index_select(0, token_A), count_E)
        return picked(combine(parts, token_A, (routing.weight_A * routing.kept_A)[order_A], len(x_ND)), row_R)


def dispatch(routing: Routing, row_R: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The order that brings assignments together by expert, tokens ascending, and how many each expert has.

    With ``row_R``, only assignments of these tokens are in it.
    """
    order_A = routing.expert_A.argsort(stable=True)
    if row_R is None:
        return order_A, routing.load_E.long()
    wanted_N = torch.zeros(len(routing.logits_NE), dtype=torch.bool, device=row_R.device)
    wanted_N[row_R] = True
    order_A = order_A[wanted_N[routing.token_A[order_A]]]
    return order_A, torch.bincount(routing.expert_A[order_A], minlength=routing.logits_NE.shape[1])


def combine(parts: list[Tensor], token_A: Tensor, weight_A: Tensor, num_tokens: int) -> Tensor:
    """Sum each token's expert outputs by their weights; tokens without an expert get zero."""
    out_ND = parts[0].new_zeros(num_tokens, parts[0].shape[1])
    sizes = [len(part) for part in parts]
    for part, token, weight in zip(parts, token_A.split(sizes), weight_A.split(sizes), strict=True):
        out_ND.index_add_(0, token, part * weight[:, None].to(part.dtype))
    return out_ND
