"""The settings of training methods, and what a method does not go with. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from moefacts.errors import UserError, check_at_least, check_choice
from moefacts.models.architecture import ModelConfig
from moefacts.models.weight_groups import ATTENTION, EXPERTS, MLP, ROUTER, weight_groups
from moefacts.synthetic_data.cohorts import common

if TYPE_CHECKING:
    from moefacts.config.schema import RunConfig

# Method -> the settings that it needs. No other method may have them, because they would have no effect.
NEEDS: dict[str, tuple[str, ...]] = {
    "freeze": ("training.freeze",),
    "l2_sp": ("training.start_penalty",),
    "ewc": ("training.start_penalty", "method.cohort", "method.batches"),
    "lora": ("method.rank", "method.alpha", "method.targets"),
    "esft": ("method.batches", "method.relevance", "method.expert_share"),
    "sparse_memory": ("method.cohort", "method.batches", "method.slots_per_token", "method.num_slots"),
    "self_distillation": ("method.cohort", "method.distillation"),
}
_OFF: tuple[Any, ...] = (None, [])
TARGETS = (ATTENTION, MLP, ROUTER, EXPERTS)
RELEVANCE = ("gate", "selection")
_UNLIKE_FULL = ("l2_sp", "ewc", "lora", "esft", "sparse_memory", "new_experts", "self_distillation")
_OF_MIXTURES = ("esft", "new_experts")
_NOT_COMPILED = ("lora", "new_experts", "self_distillation")
IN_ONE_PROCESS = ("ewc", "lora", "esft", "sparse_memory", "new_experts", "self_distillation")


@dataclass
class MethodConfig:
    """Settings of ``training.method`` beside those in ``training``; those of other methods are null.

    Attributes:
        cohort: people who are no part of what is learned: whom ewc and sparse_memory remember, or those on whom
            self_distillation compares the model with what it was.
        batches: how many batches of ``training.batch_size`` biographies ewc, esft and sparse_memory measure at first.
        rank: lora: r, the rank of every change.
        alpha: lora: α; the change is multiplied by α / r.
        targets: lora: the groups of weights that change.
        relevance: esft: whether an expert's relevance is its mean gate or its share of the choices.
        expert_share: esft: the share of the relevance that the experts which learn must have, in every layer.
        slots_per_token: sparse_memory: how many neurons of a layer count as used by a token.
        num_slots: sparse_memory: how many neurons of the model learn.
        distillation: self_distillation: β, the weight of the divergence.
    """

    cohort: str | None = None
    batches: int | None = None
    rank: int | None = None
    alpha: float | None = None
    targets: list[str] = field(default_factory=list)
    relevance: str | None = None
    expert_share: float | None = None
    slots_per_token: int | None = None
    num_slots: int | None = None
    distillation: float | None = None

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        for key in ("batches", "rank", "slots_per_token", "num_slots"):
            check_at_least(f"method.{key}", getattr(self, key), 1)
        for key in ("alpha", "distillation"):
            check_at_least(f"method.{key}", getattr(self, key), 0)
        for target in self.targets:
            check_choice("method.targets", target, TARGETS)
        if len(set(self.targets)) < len(self.targets):
            raise UserError(f"method.targets={self.targets} must name each group once")
        if self.relevance is not None:
            check_choice("method.relevance", self.relevance, RELEVANCE)
        if self.expert_share is not None and not 0 < self.expert_share <= 1:
            raise UserError(f"method.expert_share={self.expert_share} must lie in (0, 1]")


def check_method(config: RunConfig) -> None:
    """Raise ``UserError`` when the method lacks a setting, has one of another method, or does not fit the run."""
    method, training = config.training.method, config.training
    _check_belonging(config)
    if method in _UNLIKE_FULL and not config.init.is_on:
        raise UserError(f"training.method={method} starts from the weights of another run; use moefacts finetune RUN")
    if method in _UNLIKE_FULL and config.parallel == "fsdp":
        raise UserError(f"training.method={method} does not work with parallel=fsdp; use parallel=ddp")
    if method in _NOT_COMPILED and training.compile:
        raise UserError(f"training.method={method} does not work with training.compile=true; leave it out")
    _check_cohort(config)
    _check_model(config)


def _check_belonging(config: RunConfig) -> None:
    method = config.training.method
    for key in dict.fromkeys(key for keys in NEEDS.values() for key in keys):
        value: Any = attrgetter(key)(config)
        owners = [name for name, keys in NEEDS.items() if key in keys]
        if method in owners and value in _OFF:
            raise UserError(f"training.method={method} needs {key}")
        if method not in owners and value not in _OFF:
            others = " or ".join(owners)
            raise UserError(f"{key}={value} has no effect without training.method={others}; leave it out")


def _check_cohort(config: RunConfig) -> None:
    if config.method.cohort is None:
        return
    others = config.population.cohort_range(config.method.cohort)
    for cohort in config.sampling.cohorts:
        shared = common(others, config.population.cohort_range(cohort))
        if config.training.method == "self_distillation" and shared:
            raise UserError(
                f"method.cohort={config.method.cohort} and the people who are learned, {cohort}, share {len(shared)} "
                "people; self-distillation needs others, such as unseen"
            )


def _check_model(config: RunConfig) -> None:
    method, model, groups = config.training.method, config.model, weight_groups(config.model)
    for key, named in (("training.freeze", config.training.freeze), ("method.targets", config.method.targets)):
        for group in named:
            if group not in groups:
                raise UserError(f"{key}: this model has no {group}; it has {', '.join(groups)}")
    if {group for group in groups if not group.startswith("layer_")} <= set(config.training.freeze):
        raise UserError("training.freeze leaves no weights to train; freeze fewer groups")
    if method == "lora" and model.mixer != "attention":
        raise UserError(f"training.method=lora needs model.mixer=attention; it does not fit model.mixer={model.mixer}")
    if method in _OF_MIXTURES and model.moe is None:
        raise UserError(f"training.method={method} needs a mixture of experts; this model is dense")
    is_even = model.moe is not None and model.moe.kind in ("soft", "expert_choice")
    if config.method.relevance == "selection" and is_even:
        raise UserError(
            "method.relevance=selection means nothing where all experts are chosen equally often; use "
            "method.relevance=gate"
        )
    if method == "new_experts" and not (model.moe and model.moe.num_added):
        raise UserError("training.method=new_experts needs model.moe.num_added, how many experts join every mixture")
    if config.method.num_slots is not None and config.method.num_slots > (most := num_neurons(model)):
        raise UserError(f"method.num_slots={config.method.num_slots} is too large; this model has {most} neurons")


def num_neurons(model: ModelConfig) -> int:
    """The number of neurons of all feed-forward blocks, those of every expert included."""
    mixtures = 0 if model.moe is None else len(model.moe.layer_numbers(model.num_layers))
    dense = (model.num_layers - mixtures) * model.d_hidden
    if model.moe is None:
        return dense
    return dense + mixtures * (model.moe.num_experts + model.moe.num_shared) * model.moe.d_expert
