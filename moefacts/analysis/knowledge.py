"""Knowledge of persons: how far the loss is below that of the control, whose values are permuted over the people.

The control loss is what the model's statistics alone are worth. At the plateau it is the plateau's floor, which lies
above the no-knowledge baseline, and the more so the fewer people there are. So the rule of 0.99 baselines, which
defines the plateau's end, asks for more knowledge where there are fewer people. Knowledge does not have this problem:

    knowledge = (control loss - loss) / baseline

It is 0 as long as the model makes no use of who a biography is about. It is not a share of facts known, and can exceed
1: the surer the model is of whatever it believes of a person, the more it loses on values that are another's.
"""

from typing import Any

import numpy as np
import pandas as pd

from moefacts.analysis.plateau_end import Words, find_fall
from moefacts.runs import keys
from moefacts.runs.reader import Run
from moefacts.runs.thresholds import crossing, first_true

LEVEL = 0.05
_WORDS = Words(
    "knowledge", f"reached {LEVEL:.0%}", f"above {LEVEL:.0%}", f"{LEVEL:.0%}", f"knowledge reaches {LEVEL:.0%}"
)
KNOWLEDGE = (  # from evaluations on permuted values, which a run makes if ``evaluation.interval_control`` is set
    "plateau_floor", "plateau_floor_step", "knowledge_at_plateau_end", "steps_to_5_knowledge", "final_knowledge",
)  # fmt: skip
_CROSSING = tuple(f"steps_to_5_knowledge_{part}" for part in ("status", "reason", "low", "high"))


def knowledge_curve(run: Run, plateau_start: float | None, attribute: str | None = None) -> pd.DataFrame | None:
    """The loss, the control loss and knowledge, indexed by step; None if the run has no control loss.

    From the first control evaluation on the plateau on, there is one row per evaluation, with the control loss
    interpolated between the evaluations that have it. Before, where both losses fall fast and not along straight lines,
    there are only rows where the control loss was measured.

    Args:
        run: the run.
        plateau_start: the step at which its plateau starts; None if it does not.
        attribute: restricts the losses to one attribute, and divides by its baseline.

    Returns:
        The columns ``loss`` and ``control`` in nats, ``knowledge``, and its ``standard_error``: that of the difference
        of all attributes' losses, interpolated likewise, over their baseline (0 if it was not recorded).
    """
    if not run.has_curve(keys.CONTROL_LOSS):
        return None
    loss = run.curve(keys.ATTRIBUTE_LOSS, attribute=attribute)
    control = run.curve(keys.CONTROL_LOSS, attribute=attribute)
    is_used = loss.index.isin(control.index)
    on_plateau = control.index[control.index >= (np.inf if plateau_start is None else plateau_start)]
    if len(on_plateau):
        is_used |= (loss.index >= on_plateau[0]) & (loss.index <= control.index[-1])
    loss = loss[is_used]
    between = np.interp(loss.index, control.index, control)
    error = 0.0
    if run.has_curve(keys.CONTROL_DIFFERENCE_STANDARD_ERROR):
        errors = run.curve(keys.CONTROL_DIFFERENCE_STANDARD_ERROR)
        error = np.interp(loss.index, errors.index, errors) / run.baseline
    knowledge = (between - loss) / baseline(run, attribute)
    return pd.DataFrame({"loss": loss, "control": between, "knowledge": knowledge, "standard_error": error})


def baseline(run: Run, attribute: str | None = None) -> float:
    """The no-knowledge baseline in nats, of one attribute or averaged over all."""
    if attribute is None:
        return run.baseline
    return float(run.manifest["no_knowledge_baseline_by_attribute"][run.attributes.index(attribute)])


def knowledge_measures(
    run: Run, plateau_start: float | None, plateau_end: float | None, attribute: str | None = None
) -> dict[str, Any]:
    """The measures in ``KNOWLEDGE`` of one run, or of one attribute in it; None where not reached or not recorded.

    ``plateau_floor`` is the lowest control loss that was measured, over the baseline, and ``plateau_floor_step`` the
    evaluation that it was measured at. ``steps_to_5_knowledge`` is interpolated between evaluations. Whether it can be
    determined is its ``_status`` and ``_reason``, as for the plateau's end; its ``_low`` and ``_high`` are the bounds
    from the noise of the evaluations (which is not known for one attribute, where they are None).

    Args:
        run: the run.
        plateau_start, plateau_end: the steps between which the run is on its plateau (``Phases``).
        attribute: restricts the measures to one attribute.
    """
    measures: dict[str, Any] = dict.fromkeys((*KNOWLEDGE, *_CROSSING))
    curve = knowledge_curve(run, plateau_start, attribute)
    if curve is None:
        return measures
    step, knowledge = curve.index.to_numpy(), curve["knowledge"].to_numpy()
    measures["final_knowledge"] = float(knowledge[-1])
    first = first_true(knowledge >= LEVEL)
    if first is not None:
        measures["steps_to_5_knowledge"] = crossing(step, knowledge, LEVEL, first)
    measures |= _crossing(curve, attribute is None)
    if plateau_start is not None:
        control = run.curve(keys.CONTROL_LOSS, attribute=attribute)
        measures["plateau_floor"] = float(control.min() / baseline(run, attribute))
        measures["plateau_floor_step"] = int(control.idxmin())
    if plateau_end is not None:
        measures["knowledge_at_plateau_end"] = float(np.interp(plateau_end, step, knowledge))
    return measures


def _crossing(curve: pd.DataFrame, has_noise: bool) -> dict[str, Any]:
    """Whether and between which steps knowledge reaches ``LEVEL``, by the rules of the plateau's end."""
    error = curve["standard_error"].to_numpy() if has_noise else np.zeros(len(curve))
    found = find_fall(curve.index.to_numpy(), -curve["knowledge"].to_numpy(), error, -LEVEL, _WORDS)
    low, high = (found.low, found.high) if has_noise else (None, None)
    return dict(zip(_CROSSING, (found.status, found.reason, low, high), strict=True))


def knowledge_by_attribute(run: Run, phases: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The measures in ``KNOWLEDGE`` of every attribute; empty if the run has no control loss.

    ``phases`` are the run's ``phase_measures``: the plateau is that of all attributes together.
    """
    if not run.has_curve(keys.CONTROL_LOSS):
        return {}
    start, end = phases["plateau_start"], phases["plateau_end_interpolated"]
    return {attribute: knowledge_measures(run, start, end, attribute) for attribute in run.attributes}
