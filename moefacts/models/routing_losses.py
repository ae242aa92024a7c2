"""Load balancing: functions of what a router returned, with their published formulas.

Shape legend: N tokens, E experts, K experts chosen per token.

All losses are unweighted; the caller multiplies them by their weights and adds them over layers. They are functions of
sums over tokens. Where several processes share the tokens, ``total`` adds these sums over the processes.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from moefacts.models.moe import Routing

Total = Callable[[Tensor], Tensor]


def all_are_here(amount: Tensor) -> Tensor:
    """The total of an amount when there is only one process."""
    return amount


def squared_coefficient_of_variation(amount_E: Tensor) -> Tensor:
    """CV^2 = variance / mean^2 over experts (population variance): 0 if all are equal, E - 1 if one expert has all."""
    return amount_E.var(unbiased=False) / (amount_E.mean() ** 2 + 1e-10)


def importance_loss(routing: Routing, total: Total = all_are_here) -> Tensor:
    """CV^2 of the importance, the sum of each expert's gates over the batch (Shazeer et al. 2017, eq. 6-7)."""
    return squared_coefficient_of_variation(total(routing.gates_NE.sum(dim=0)))


def load_loss(routing: Routing, total: Total = all_are_here) -> Tensor:
    """CV^2 of the smooth load (Shazeer et al. 2017, appendix A, eq. 8-11).

    The load of an expert is the sum over tokens of the probability that it stays among the top k when its own noise is
    drawn again. The loss is zero for a router without noise and outside training, where there is no noise.
    """
    if routing.noise_std_NE is None or routing.noisy_logits_NE is None:
        return routing.logits_NE.new_zeros(())
    return squared_coefficient_of_variation(total(stay_probability(routing).sum(dim=0)))


def stay_probability(routing: Routing) -> Tensor:
    """P(x, i) of Shazeer et al. 2017, eq. 9; shape (N, E)."""
    noisy_NE, std_NE = routing.noisy_logits_NE, routing.noise_std_NE
    assert noisy_NE is not None
    assert std_NE is not None
    num_chosen = routing.expert_NK.shape[1]
    if num_chosen == noisy_NE.shape[1]:
        return torch.ones_like(noisy_NE)
    largest_NK = noisy_NE.topk(num_chosen + 1, dim=1).values
    # The rival is the k-th largest of the other scores: the (k+1)-th of all for an expert in the top k, else the k-th.
    is_chosen_NE = noisy_NE >= largest_NK[:, num_chosen - 1 : num_chosen]
    rival_NE = torch.where(is_chosen_NE, largest_NK[:, num_chosen:], largest_NK[:, num_chosen - 1 : num_chosen])
    return torch.special.ndtr((routing.logits_NE - rival_NE) / std_NE)


def token_balance_loss(routing: Routing, total: Total = all_are_here) -> Tensor:
    """E * sum_e f_e * P_e, fraction of assignments times mean gate, which is 1 at perfect balance (Switch, eq. 4)."""
    load_E = total(routing.load_E)
    mean_gate_E = total(routing.gates_NE.sum(dim=0)) / _num_tokens(routing, total)
    return len(load_E) * (load_E / load_E.sum() * mean_gate_E).sum()


def z_loss(routing: Routing, total: Total = all_are_here) -> Tensor:
    """Mean over tokens of logsumexp(router logits)^2 (ST-MoE, eq. 5)."""
    return total(routing.logits_NE.logsumexp(dim=1).square().sum()) / _num_tokens(routing, total)


def _num_tokens(routing: Routing, total: Total) -> Tensor:
    return total(routing.logits_NE.new_full((), len(routing.logits_NE)))


def updated_selection_bias(bias_E: Tensor, load_E: Tensor, rate: float) -> Tensor:
    """Loss-free balancing (Wang et al. 2024): raise the bias of experts below the mean load, and lower the others'."""
    return bias_E + rate * torch.sign(load_E.mean() - load_E)


@dataclass(frozen=True)
class LoadSums:
    """Sums over tokens, from which a layer's load measures follow; those of several batches can be added.

    Attributes:
        load_E: the number of assignments to each expert, those over capacity included.
        importance_E: the sum of each expert's gates.
        entropy: the sum of the entropies of the softmax over all experts, in nats.
        num_dropped: the number of assignments over capacity.
        num_tokens: the number of tokens.
    """

    load_E: Tensor
    importance_E: Tensor
    entropy: Tensor
    num_dropped: Tensor
    num_tokens: Tensor

    @classmethod
    def of(cls, routing: Routing) -> "LoadSums":
        """The sums over the tokens of one batch, in double precision so that long sums stay exact."""
        log_gates_NE = routing.logits_NE.double().log_softmax(dim=1)
        return cls(
            load_E=routing.load_E.double(),
            importance_E=routing.gates_NE.double().sum(dim=0),
            entropy=-(log_gates_NE.exp() * log_gates_NE).sum(),
            num_dropped=(~routing.kept_A).sum(dtype=torch.float64),
            num_tokens=log_gates_NE.new_full((), len(log_gates_NE)),
        )

    def combined(self, function: Callable[..., Tensor], *others: "LoadSums") -> "LoadSums":
        """Apply ``function`` to every sum, together with the same sum of the ``others``."""
        every = (self, *others)
        return LoadSums(**{f.name: function(*(getattr(sums, f.name) for sums in every)) for f in fields(LoadSums)})


def load_measures(sums: LoadSums) -> dict[str, Tensor]:
    """What is logged of a layer: load fractions, CV of importance, max violation, router entropy, dropped fraction."""
    load_E = sums.load_E
    return {
        "load_fraction_E": load_E / load_E.sum(),
        "importance_cv": squared_coefficient_of_variation(sums.importance_E).sqrt(),
        "max_violation": load_E.max() / load_E.mean() - 1,
        "router_entropy": sums.entropy / sums.num_tokens,
        "dropped_fraction": sums.num_dropped / load_E.sum(),
    }
