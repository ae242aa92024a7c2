"""Figures 3, right, and F: where attention goes before the plateau, on it, and after it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from moefacts.analysis.attention_figures import ATTENTION_CAPTION, PANELS, attention_signatures, signature_curves
from moefacts.analysis.groups import Group
from moefacts.analysis.plateau_end import REACHED
from moefacts.analysis.summary import estimate, format_number
from moefacts.analysis.table import Table
from moefacts.analysis.unit import POINTS, Unit
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import SCALES, Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below, cannot_tell
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._unseen import UNSEEN_RARELY
from moefacts.experiments.studies.phases import STUDY as PHASES
from moefacts.runs import keys
from moefacts.runs.thresholds import PLATEAU_CEILING, PLATEAU_FLOOR

_MOMENTS = UNTRAINED, START, END, LAST = "untrained", "plateau start", "plateau end", "last step"
_PEOPLE = 2048  # with fewer, the plateau hardly stands apart from the first phase
_SEEDS = {"laptop": 5, "workstation": 3}
_COMMON = (
    f"population.size={_PEOPLE}",
    "evaluation.biographies=1024",
    "evaluation.interval=20",
    "evaluation.interval_after_plateau=100",
    "evaluation.interval_control=40",
    UNSEEN_RARELY,
    "checkpoints.interval=20",
)
# On a laptop the plateau is likely to last from step 230 to 800, at the workstation's width to 400.
_SETTINGS = {
    "laptop": (
        f"training.learning_rate={laptop.LEARNING_RATE}",
        *laptop.LAW_SETTINGS,
        "training.steps=2000",
        "checkpoints.interval_until=900",
        "checkpoints.num_uniform=11",
    ),
    "workstation": ("training.steps=1000", "checkpoints.interval_until=500", "checkpoints.num_uniform=10"),
}


@dataclass(frozen=True)
class Signatures:
    """The attention signatures of one run at moments of its training.

    Attributes:
        at: moment -> signature -> one value per layer. Moments that the run did not reach are left out.
        reference: signature -> its value for attention without preference.
    """

    at: Mapping[str, Mapping[str, np.ndarray]]
    reference: Mapping[str, float]


def steps_of(run: FinishedRun) -> dict[str, float]:
    """The step of every moment that the run reached."""
    steps = {
        UNTRAINED: 0.0,
        START: run.measures["plateau_start"],
        END: run.measures["plateau_end_interpolated"] if run.measures["plateau_end_status"] == REACHED else None,
        LAST: float(run.measures["last_step"]),
    }
    return {moment: step for moment, step in steps.items() if step is not None}


def signatures_of(run: FinishedRun) -> Signatures | None:
    """The signatures of a run, interpolated between checkpoints; None before the attention probe has run."""
    table = run.record.attention
    if table is None:
        return None
    curves = {name: signature_curves(Group("", [run.record]), name)[0] for name in PANELS}
    at = {
        moment: {
            name: np.array([np.interp(step, curve.index, curve[layer]) for layer in curve.columns])
            for name, curve in curves.items()
        }
        for moment, step in steps_of(run).items()
    }
    return Signatures(at, table.groupby("signature")["reference"].mean().to_dict())


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Average the signatures over seeds, at each moment of training."""
    probed = [(run, found) for run in runs if (found := signatures_of(run)) is not None]
    signatures = [found for _, found in probed]
    num_layers = max((len(found.at[UNTRAINED]["name_to_name"]) for found in signatures), default=0)
    rows, values = [], {}
    for name, title in PANELS.items():
        for layer in range(num_layers):
            means = [
                estimate([float(found.at[moment][name][layer]) if moment in found.at else None for found in signatures])
                for moment in _MOMENTS
            ]
            reference = signatures[0].reference[name]
            texts = [mean.text() if mean else "not reached" for mean in means]
            rows.append([title, str(layer + 1), format_number(reference), *texts])
            values[f"{name}/layer_{layer + 1}"] = [None if mean is None else vars(mean) for mean in means]
    columns = ["attention", "layer", "without preference", *_MOMENTS]
    note = "Means over seeds with 95% intervals, or the values of one or two seeds, interpolated between checkpoints."
    if left_out := [str(run.seed) for run in runs if run.record.attention is None]:
        note += (
            f" Seeds {', '.join(left_out)} have not been probed and are left out; run the study again to probe them."
        )
    group = Group("", [run.record for run, _ in probed])
    figures = {"attention": (ATTENTION_CAPTION, partial(attention_signatures, group))} if probed else {}
    tables = [Table("Attention signatures", columns, rows, note), _loss_table([run for run, _ in probed])]
    return Findings({"signatures": values}, tables, figures, signatures)


def _loss_table(runs: Sequence[FinishedRun]) -> Table:
    """The step, the loss and the control loss at each moment: how far the loss stands still on the plateau."""
    measures = {"attribute loss / baseline": keys.ATTRIBUTE_LOSS, "control loss / baseline": keys.CONTROL_LOSS}
    rows = [["step", *(_cell([steps_of(run).get(moment) for run in runs]) for moment in _MOMENTS)]]
    for title, measure in measures.items():
        recorded = [run for run in runs if run.record.has_curve(measure)]
        rows.append(
            [title, *(_cell([_over_baseline(run, measure, moment) for run in recorded]) for moment in _MOMENTS)]
        )
    note = (
        "The control is the loss with values permuted over the people, which knowledge of persons cannot lower. Both "
        "are interpolated between evaluations."
    )
    return Table("Loss at these moments", ["measure", *_MOMENTS], rows, note)


def _over_baseline(run: FinishedRun, measure: str, moment: str) -> float | None:
    step, curve = steps_of(run).get(moment), run.record.curve(measure)
    return None if step is None else float(np.interp(step, curve.index, curve)) / run.record.baseline


def _cell(values: list[float | None]) -> str:
    mean = estimate(values)
    return mean.text() if mean else "–"


def _first_layer(value_L: np.ndarray) -> float:
    return float(value_L[0])


def _later_layers(value_L: np.ndarray) -> float:
    return float(value_L[1:].mean()) if len(value_L) > 1 else float("nan")


def _all_layers(value_L: np.ndarray) -> float:
    return float(value_L.mean())


REFERENCE = "attention without preference"


def _change(decide, signature: str, layers, before: str, after: str, runs: Sequence[Signatures]) -> Verdict:
    """Decide from a signature's mean change over seeds from ``before``, a moment or ``REFERENCE``, to ``after``."""
    changes = [
        layers(run.at[after][signature])
        - (run.reference[signature] if before == REFERENCE else layers(run.at[before][signature]))
        for run in runs
        if after in run.at and (before == REFERENCE or before in run.at)
    ]
    mean = estimate([change for change in changes if np.isfinite(change)])
    if mean is None:
        return cannot_tell(f"no seed was trained up to its {after}")
    interval = None if mean.low is None or mean.high is None else (mean.low, mean.high)
    verdict = decide(mean.mean, interval, 0.0, mean.count)
    missing = f" over {mean.count} of {len(runs)} seeds" if mean.count < len(runs) else ""
    return replace(verdict, here=verdict.here + missing)


_ATTENTION = Unit(POINTS, "of attention")


def _claim(text: str, published: str, what: str, decide, *change, unit: Unit = _ATTENTION) -> Claim:
    where, otherwise = ("above", "below") if decide is above else ("below", "above")
    rule = (
        f"{what}, averaged over seeds that were trained so far. Holds if its 95% interval lies {where} 0; does not "
        f"hold if it lies {otherwise}; cannot tell otherwise."
    )
    return Claim(text, published, rule, partial(_change, decide, *change), unit=unit)


_CLAIMS = (
    _claim(
        "Names are joined first: before the plateau the first layer learns to attend from a name's end to its rest",
        "within a few hundred steps",
        "Change in the first layer's attention from a name's end to its rest, from untrained to the plateau's start",
        above,
        *("name_to_name", _first_layer, UNTRAINED, START),
    ),
    _claim(
        "In the first phase, the token before a value pays little attention to names",
        "low",
        "Attention from before a value to names at the plateau's start, minus that of attention without preference, "
        "mean of the layers after the first",
        below,
        *("attribute_to_name", _later_layers, REFERENCE, START),
    ),
    _claim(
        f"On the plateau, while the loss falls from {PLATEAU_CEILING:g} to {PLATEAU_FLOOR:g} of the baseline, "
        "attention from before a value to names rises",
        "rises",
        "Change in attention from before a value to names, from the plateau's start to its end, mean of the layers "
        "after the first",
        above,
        *("attribute_to_name", _later_layers, START, END),
    ),
    _claim(
        "On the plateau the attention of the token before a value becomes sharper",
        "entropy falls",
        "Change in the entropy over ln t of attention before a value, from the plateau's start to its end, mean of all "
        "layers",
        below,
        *("attribute_entropy", _all_layers, START, END),
        unit=Unit(POINTS, "of the largest entropy"),
    ),
)

STUDY = Study(
    name="attention",
    title="Where does attention go before, on and after the plateau?",
    figure="Figures 3, right, and F",
    grids={
        scale: [GridRun((*_COMMON, *settings, f"seed={seed}")) for seed in seeds_for(_PEOPLE, _SEEDS[scale])]
        for scale, settings in _SETTINGS.items()
    }
    | {"paper": PHASES.grids["paper"]},
    claims=dict.fromkeys(SCALES, _CLAIMS),
    examine=examine,
    probes=("attention",),
)
