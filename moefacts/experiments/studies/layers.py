"""Which layer does what: does early attention build a query from the name, and late attention read the answer?

The study says: early attention processes the name into a query, MLPs in the middle are the associative memory, and late
attention extracts the attribute. Its evidence is attention patterns and patching; here it is interventions by layer
(``probes.mechanism``). The last layer cannot matter at the name, because nothing reads what it writes there, so it is
left out of whatever is measured there.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from moefacts.analysis.expert_facts import expert_cells, explained_in_all
from moefacts.analysis.expert_figures import EXPERTS_CAPTION, experts
from moefacts.analysis.mechanism import (
    CUT_IN_NAME,
    CUT_TO_NAME,
    MLP_AT_NAME,
    PERMUTED,
    READ_AT_NAME,
    READ_AT_VALUE,
    Place,
    by_layer,
    has_mechanism,
    mechanism_of,
)
from moefacts.analysis.mechanism_figures import FIGURES
from moefacts.analysis.mechanism_tables import layer_cells
from moefacts.analysis.table import Table
from moefacts.analysis.unit import NUMBER, POINTS, SHARE, Unit
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, above, below
from moefacts.experiments.studies._by_arm import ByArm
from moefacts.experiments.studies._finetuned import PEOPLE, last_of_each, pretraining
from moefacts.experiments.studies._kinds import DENSE, EIGHT, MANY, pretrained
from moefacts.runs.reader import Run

_SEEDS = 5
_DEEP = "model.num_layers=4"
_CHECKPOINTS = "checkpoints.interval=100"  # near the plateau's start and end, and for ``emergence``
FOUR, EIGHT_LAYERS = "4 layers", "8 layers"
MAIN = FOUR
_LOST = 0.05  # a site matters if this much of the probability is lost there in some layer
NOT_PROBED = "nothing was probed, or nowhere is 5% of the probability lost"
NOT_EXPLAINED = "no fact loses 5% of its probability without single experts"
NOT_ENRICHED = "the value cannot be read at the name more often than by chance"


def deep_run(seed: int, arm: str) -> GridRun:
    """The run of a seed with so many layers, trained until 95% of the values are known."""
    layers = _DEEP if arm == FOUR else "model.num_layers=8"
    run = pretraining("laptop", seed, layers, _CHECKPOINTS)
    return GridRun(run.overrides, run.expected_steps, {"arm": arm})


def mixture_run(seed: int, kind: str) -> GridRun:
    """The run of a seed and a kind of model with four layers."""
    run = pretrained("laptop", seed, kind)
    return GridRun(last_of_each(*run.overrides, _DEEP, _CHECKPOINTS), run.expected_steps, {"arm": kind})


def _grid(arms: Sequence[str], run_of: Callable[[int, str], GridRun]) -> list[GridRun]:
    return [run_of(seed, arm) for seed in seeds_for(PEOPLE["laptop"], _SEEDS) for arm in arms]


def lost(run: Run, place: Place, reaches_last: bool) -> np.ndarray | None:
    """The share of the true value's probability that is lost by layer; None if it is never as much as ``_LOST``.

    Args:
        run: the run.
        place: a knock-out or an ablation.
        reaches_last: whether it can matter in the last layer, which is left out otherwise.
    """
    if not has_mechanism(run):
        return None
    lost_L = -by_layer(mechanism_of(run), place).sort_index().to_numpy()
    lost_L = np.maximum(0.0, lost_L if reaches_last else lost_L[:-1])
    return lost_L if len(lost_L) > 1 and lost_L.max() >= _LOST else None


def centre(run: Run, place: Place, reaches_last: bool) -> float | None:
    """The mean layer, weighted by what is lost in it, from −1 (all in the first) to 1 (all in the last)."""
    lost_L = lost(run, place, reaches_last)
    if lost_L is None:
        return None
    middle = (len(lost_L) - 1) / 2
    return float((lost_L @ np.arange(len(lost_L)) / lost_L.sum() - middle) / middle)


def middle_excess(run: Run, place: Place) -> float | None:
    """How much more is lost in the middle third of the layers that can matter at the name than in the others."""
    lost_L = lost(run, place, reaches_last=False)
    if lost_L is None or len(lost_L) < 3:
        return None
    third = len(lost_L) / 3
    is_middle_L = (np.arange(len(lost_L)) + 0.5 > third) & (np.arange(len(lost_L)) + 0.5 < 2 * third)
    return float(lost_L[is_middle_L].mean() - lost_L[~is_middle_L].mean())


def enrichment(run: Run) -> float | None:
    """The share of values read at the name in the best layer, minus that of values permuted over people."""
    if not has_mechanism(run):
        return None
    own, permuted = (_reading(run, READ_AT_NAME, values) for values in ("own", PERMUTED))
    return float(own.max() - permuted.max())


def layers_before(run: Run) -> float | None:
    """How many layers later the value is read before the value than at the name.

    The layer of a reading is where it passes half of its largest share; None where the value is not enriched.
    """
    gain = enrichment(run)
    if gain is None or gain <= 0.1:
        return None
    return _half_layer(_reading(run, READ_AT_VALUE)) - _half_layer(_reading(run, READ_AT_NAME))


def _reading(run: Run, place: Place, values: str = "own") -> pd.Series:
    return by_layer(mechanism_of(run, values=values), place).sort_index()


def _half_layer(share_L: pd.Series) -> float:
    return float(np.argmax(share_L.to_numpy() >= share_L.max() / 2))


def _centre_claim(text: str, published: str, what: str, arm: str, place: Place, reaches_last: bool, sign: int) -> Claim:
    side, other, decide = ("below", "above", below) if sign < 0 else ("above", "below", above)
    rule = (
        f"Mean layer, weighted by the share of the true value's probability that is lost in it alone, {what}, “{arm}”, "
        f"scaled from −1 (all in the first layer) to 1 (all in the last). Holds if its 95% interval lies {side} 0; "
        f"does not hold if it lies {other}; cannot tell otherwise, or if in some run 5% are lost in no layer."
    )
    measure = partial(centre, place=place, reaches_last=reaches_last)
    return Claim(
        text,
        published,
        rule,
        lambda arms: arms.mean_verdict(arm, measure, decide, 0.0, NOT_PROBED),
        unit=Unit(NUMBER, "on a scale from −1 (first layer) to 1 (last)"),
    )


def claims_of(arm: str) -> tuple[Claim, ...]:
    """The claims about one arm."""
    return (
        _centre_claim(
            f"Attention inside the name matters most in early layers ({arm})",
            "early attention processes the name into a query",
            "when name tokens cannot attend to each other",
            arm,
            CUT_IN_NAME,
            False,
            -1,
        ),
        Claim(
            f"The MLP at the name matters most in middle layers ({arm})",
            "MLPs in the middle are the associative memory",
            "Share of the probability lost when the MLP at the last name token is replaced by its mean: middle third "
            "of the layers minus the others, the last layer left out. Holds if its 95% interval lies above 0; does not "
            "hold if it lies below; cannot tell otherwise, or if in some run 5% are lost in no layer.",
            lambda arms: arms.mean_verdict(arm, partial(middle_excess, place=MLP_AT_NAME), above, 0.0, NOT_PROBED),
            unit=Unit(POINTS, "of the probability lost"),
        ),
        _centre_claim(
            f"Attention from before the value to the name matters most in late layers ({arm})",
            "late attention extracts the attribute",
            "when the token before the value cannot attend to the name",
            arm,
            CUT_TO_NAME,
            True,
            1,
        ),
        Claim(
            f"The value can be read at the name ({arm})",
            "none published for this model (Geva et al. 2023: yes, in large ones)",
            "Share of values that are the likeliest of their attribute when the state at the last name token is read "
            "as if it were the last, best layer, minus the same for values permuted over people. Holds if its 95% "
            "interval lies above 0.1; does not hold if it lies below; cannot tell otherwise.",
            lambda arms: arms.mean_verdict(arm, enrichment, above, 0.1, "nothing was probed"),
            unit=Unit(POINTS, "of the values"),
        ),
        Claim(
            f"It is read at the name in earlier layers than before the value ({arm})",
            "enrichment comes before extraction (Geva et al. 2023)",
            "Layer in which the share of values read before the value passes half of its largest, minus that at the "
            "name. Holds if its 95% interval lies above 0; does not hold if it lies below; cannot tell otherwise, or "
            "if in some run the value is not read at the name 10% more often than one permuted over people.",
            lambda arms: arms.mean_verdict(arm, layers_before, above, 0.0, NOT_ENRICHED),
            unit=Unit(NUMBER, "layers"),
        ),
    )


def held_by_attribute(run: Run) -> float | None:
    """How much more of what single experts are needed for follows from the attribute than from the person."""
    found = explained_in_all(run)
    return None if found is None else found.by_attribute - found.by_person


def held_by_either(run: Run) -> float | None:
    """How much of it follows from attribute and person."""
    found = explained_in_all(run)
    return None if found is None else found.by_attribute + found.by_person


_SHARES = (
    "Every expert of every layer is silenced, one at a time, at all tokens. Of how the experts of a layer share what a "
    "fact loses, the variance over facts that follows from the attribute, and from the person beyond it, is corrected "
    "for chance (ε²) and summed over layers"
)


def expert_claims_of(arm: str) -> tuple[Claim, ...]:
    """The claims about what single experts hold."""
    return (
        Claim(
            f"A single expert holds facts of some attributes rather than of some people ({arm})",
            "none published",
            f"{_SHARES}: share of the attribute minus that of the person. Holds if its 95% interval lies above 0; does "
            "not hold if it lies below; cannot tell otherwise, or if in some run no fact loses 5%.",
            lambda arms: arms.mean_verdict(arm, held_by_attribute, above, 0.0, NOT_EXPLAINED),
            unit=Unit(POINTS, "of the variance"),
        ),
        Claim(
            f"Attribute and person alone tell mostly which expert a fact needs ({arm})",
            "none published",
            f"{_SHARES}: the sum of both. Holds if its 95% interval lies above 0.5; does not hold if it lies below; "
            "cannot tell otherwise, or if in some run no fact loses 5%.",
            lambda arms: arms.mean_verdict(arm, held_by_either, above, 0.5, NOT_EXPLAINED),
            unit=Unit(SHARE, "of the variance"),
        ),
    )


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure every arm by layer."""
    arms = ByArm.of_runs(runs)
    tables, figures, values = [], {}, {}
    for number, (arm, members) in enumerate(arms.runs.items()):
        probed = [run for run in members.values() if has_mechanism(run)]
        if not probed:
            continue
        cells = layer_cells(probed)
        values[arm] = [[dict(zip(one.columns, row, strict=True)) for row in one.rows] for one in cells]
        tables += [Table(f"Layer by layer: {arm}, {one.title}", one.columns, one.rows, one.note) for one in cells]
        for name, (caption, draw) in FIGURES.items():
            figures[f"{name}_{number}"] = (f"{arm}. {caption}", partial(draw, probed))
        if (held := expert_cells(probed)) is not None:
            values[arm].append([dict(zip(held.columns, row, strict=True)) for row in held.rows])
            tables.append(Table(f"What single experts hold: {arm}", held.columns, held.rows, held.title))
            figures[f"experts_{number}"] = (f"{arm}, one seed. {EXPERTS_CAPTION}", partial(experts, probed[0]))
    first = {name: one for name, one in figures.items() if name.startswith("experts_")}  # what only mixtures have
    return Findings({"arms": values}, tables, first | figures, arms)


STUDY = Study(
    name="layers",
    title="Which layer of a model does what when it recalls a fact?",
    figure="Figure 3, by interventions",
    grids={"laptop": _grid((FOUR, EIGHT_LAYERS), deep_run)},
    claims={"laptop": (*claims_of(FOUR), *claims_of(EIGHT_LAYERS))},
    examine=examine,
    probes=("mechanism",),
)
MIXTURES_STUDY = Study(
    name="layers-moe",
    title="Which layer of a mixture of experts does what when it recalls a fact?",
    figure="not in the paper",
    grids={"laptop": _grid((DENSE, EIGHT, MANY), mixture_run)},
    claims={"laptop": (*claims_of(EIGHT), *claims_of(MANY), *expert_claims_of(EIGHT), *expert_claims_of(MANY))},
    examine=examine,
    probes=("mechanism",),
)
