"""The runs of hallucination-methods: every setting of ``uncertainty.*`` in two strengths, and none.

Strengths are not chosen by their results: they are a weak and a strong value of what the literature uses. The claims
are about the strong one. All arms of a seed have the same people, batches and steps; strangers are shown besides.
"""

from collections.abc import Mapping

from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._kinds import DENSE, EIGHT
from moefacts.experiments.studies._unseen import unseen_at_both_ends

SCALE, PEOPLE, STEPS = "laptop", 512, 1000
NONE = "no method"
PRIOR, UNKNOWN, IDK = "strangers, prior", "strangers, unknown", "[IDK]"
SMOOTHING, PENALTY = "label smoothing", "confidence penalty"
WEAK, STRONG = "weak", "strong"
_INTERVAL = 50
_FIRST_SEED = 30  # no other study has these seeds
_SEEDS = {STRONG: 4, WEAK: 3}
_SEEDS_OF_MIXTURES = 3
_STRANGERS = 20_000  # more than a run shows, so that nobody is shown twice


def _strangers(target: str, share: float) -> tuple[str, ...]:
    return (
        f"population.strangers={_STRANGERS}",
        f"uncertainty.strangers={target}",
        f"uncertainty.stranger_share={share:g}",
    )


def _of(setting: str, weak: float, strong: float) -> dict[str, tuple[str, ...]]:
    return {WEAK: (f"uncertainty.{setting}={weak:g}",), STRONG: (f"uncertainty.{setting}={strong:g}",)}


# Method -> strength -> settings
METHODS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    PRIOR: {WEAK: _strangers("prior", 0.125), STRONG: _strangers("prior", 0.5)},
    UNKNOWN: {WEAK: _strangers("unknown", 0.125), STRONG: _strangers("unknown", 0.5)},
    IDK: _of("idk_factor", 0.25, 0.5),
    SMOOTHING: _of("label_smoothing", 0.05, 0.2),
    PENALTY: _of("confidence_penalty", 0.1, 0.5),
}
OF_MIXTURES = (PRIOR, UNKNOWN, IDK)


def arm(kind: str, method: str = NONE, strength: str = STRONG) -> str:
    """The name of the arm of a kind of model."""
    return f"{kind}, {method}" + (f", {strength}" if method != NONE else "")


def grid() -> list[GridRun]:
    """All runs, those of one seed together."""
    seeds = seeds_for(PEOPLE, _FIRST_SEED + max(_SEEDS.values()))[_FIRST_SEED:]
    runs = []
    for number, seed in enumerate(seeds):
        runs.append(_run(DENSE, NONE, STRONG, (), seed))
        for method, strengths in METHODS.items():
            for strength, settings in strengths.items():
                if number < _SEEDS[strength]:
                    runs.append(_run(DENSE, method, strength, settings, seed))
        if number < _SEEDS_OF_MIXTURES:
            runs.append(_run(EIGHT, NONE, STRONG, (), seed))
            runs += [_run(EIGHT, method, STRONG, METHODS[method][STRONG], seed) for method in OF_MIXTURES]
    return runs


def _run(kind: str, method: str, strength: str, settings: tuple[str, ...], seed: int) -> GridRun:
    overrides = (
        *(("model=moe_laptop",) if kind == EIGHT else ()),
        f"population.size={PEOPLE}",
        *laptop.SETTINGS,
        f"training.steps={STEPS}",
        "evaluation.biographies=512",
        f"evaluation.interval={_INTERVAL}",
        f"evaluation.interval_after_plateau={_INTERVAL}",
        unseen_at_both_ends(_INTERVAL),
        *settings,
        f"seed={seed}",
    )
    labels = {"arm": arm(kind, method, strength), "kind": kind, "method": method}
    return GridRun(overrides, None, labels)
