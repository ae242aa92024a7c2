"""The runs of finetune-methods: every method, from the same weights, on dense models and mixtures.

What a method leaves open is chosen without looking at what is kept of old people. A strength (λ, β) is the largest
power of ten with which a dense model of another seed knows 90% of the new values within the study's steps (LOG.md).
"""

from collections.abc import Callable, Mapping

from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies._finetuned import NEW_PEOPLE, PEOPLE, fine_tuning, fine_tuning_rate, new_people
from moefacts.experiments.studies._kinds import DENSE, EIGHT, MANY, pretrained
from moefacts.runs import keys

SCALE, SEEDS, STEPS = "laptop", 5, 1600
KINDS = (DENSE, EIGHT, MANY)
ENOUGH = 0.99  # of the new values known: a run stops there
FULL, REPLAY, SELF_REPLAY = "full", "replay, weight 1/4", "replay of what the model says"
LORA, FREEZE, EWC, L2_SP, SPARSE = "LoRA", "bottom frozen", "EWC", "L2-SP", "sparse memory"
ESFT, NEW_EXPERTS, DISTILLATION = "ESFT", "new experts", "self-distillation"
_EWC, _L2_SP, _DISTILLATION = 10, 0.01, 1
_NEURONS = {DENSE: 512, EIGHT: 2048, MANY: 16384}
_SHARE = 8  # one neuron in so many is a slot that learns
_BATCHES = "method.batches=32"


def _same(*settings: str) -> Callable[[str], tuple[str, ...]]:
    return lambda kind: settings


def _lora(kind: str) -> tuple[str, ...]:
    targets = "[attention,mlp]" if kind == DENSE else "[attention,experts]"
    rate = f"training.learning_rate={10 * fine_tuning_rate(SCALE):g}"
    return ("training.method=lora", "method.rank=8", "method.alpha=16", f"method.targets={targets}", rate)


def _sparse(kind: str) -> tuple[str, ...]:
    slots = f"method.num_slots={_NEURONS[kind] // _SHARE}"
    return ("training.method=sparse_memory", slots, "method.slots_per_token=32", _BATCHES, f"method.cohort={keys.SEEN}")


def _penalty(method: str, strength: float, *more: str) -> Callable[[str], tuple[str, ...]]:
    return _same(f"training.method={method}", f"training.start_penalty={strength:g}", *more)


_REPLAY = ("sampling.kind=replay", "sampling.replay_weight=0.25")
# Method -> the settings for a kind of model
METHODS: Mapping[str, Callable[[str], tuple[str, ...]]] = {
    FULL: _same(),
    REPLAY: _same(*_REPLAY),
    SELF_REPLAY: _same(*_REPLAY, "sampling.replay_values=model"),
    LORA: _lora,
    FREEZE: _same("training.method=freeze", "training.freeze=[embeddings,layer_0]"),
    EWC: _penalty("ewc", _EWC, f"method.cohort={keys.SEEN}", _BATCHES),
    L2_SP: _penalty("l2_sp", _L2_SP),
    SPARSE: _sparse,
    DISTILLATION: _same(
        "training.method=self_distillation", f"method.distillation={_DISTILLATION}", f"method.cohort={keys.UNSEEN}"
    ),
    ESFT: _same("training.method=esft", "method.relevance=selection", "method.expert_share=0.2", _BATCHES),
    NEW_EXPERTS: _same("training.method=new_experts", "model.moe.num_added=2"),
}
OF_MIXTURES = (ESFT, NEW_EXPERTS)


def methods_of(kind: str) -> list[str]:
    """The methods that fit a kind of model."""
    return [method for method in METHODS if kind != DENSE or method not in OF_MIXTURES]


def grid() -> list[GridRun]:
    """All runs, those of one seed together."""
    learned, cohorts = new_people(NEW_PEOPLE[SCALE])
    steps = (f"training.steps={STEPS}", f"training.stop_at_accuracy={ENOUGH}")
    runs = []
    for seed in seeds_for(PEOPLE[SCALE], SEEDS):
        for kind in KINDS:
            first = pretrained(SCALE, seed, kind)
            for method in methods_of(kind):
                labels = {"arm": f"{kind}, {method}", "kind": kind, "method": method}
                runs.append(fine_tuning(SCALE, first, learned, cohorts, labels, *METHODS[method](kind), *steps))
    return runs
