"""What do ways to hallucinate less save, and what do they cost in knowledge?

Every method is compared with none at equal seed, people, batches and steps, in dense models and in one mixture. A
method that keeps the model from learning would look as if it saved hallucination, so what is known is compared, too.
"""

from collections.abc import Callable, Sequence
from functools import partial

from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.figures import DrawFigure
from moefacts.analysis.summary import estimate
from moefacts.analysis.unit import NUMBER, POINTS, SHARE, Unit
from moefacts.experiments.engine.study import Findings, FinishedRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below
from moefacts.experiments.studies._by_arm import ByArm, Measure
from moefacts.experiments.studies._kinds import DENSE, EIGHT
from moefacts.experiments.studies._units import ACCURACY_POINTS
from moefacts.experiments.studies.hallucination_methods.grid import (
    IDK,
    METHODS,
    NONE,
    PENALTY,
    PRIOR,
    SCALE,
    SMOOTHING,
    STRONG,
    UNKNOWN,
    WEAK,
    arm,
    grid,
)
from moefacts.experiments.studies.hallucination_methods.measures import (
    LEAST_KNOWN,
    SURE,
    TOO_EARLY,
    accuracy,
    hallucination_rate,
    over_refusal,
    plateau_end,
    regret,
    right_at,
)
from moefacts.experiments.studies.hallucination_methods.pareto_figure import Points, pareto
from moefacts.runs import keys
from moefacts.runs.reader import Run

KINDS = (DENSE, EIGHT)
MATCHED = 0.05  # of the values of unseen people answered, where methods are compared with a mere threshold
RATES = (0.01, 0.05, 0.1, 0.2, 0.3)
REFUSED = 0.1  # of what the model without the method gets right: more is too much to refuse


def _columns(arms: ByArm) -> dict[str, Measure]:
    return {
        "values known": lambda run: float(run.curve(keys.ATTRIBUTE_ACCURACY).iloc[-1]),
        "plateau end (steps)": plateau_end,
        "regret (nats)": regret,
        "hallucination rate": hallucination_rate,
        "over-refusal": lambda run: over_refusal(run, _without(arms, run)),
        f"right at {MATCHED:.0%} hallucination": lambda run: right_at(run, MATCHED),
    }


def _kind_of(run: Run) -> str:
    return DENSE if run.settings.model.moe is None else EIGHT


def _without(arms: ByArm, run: Run) -> Run | None:
    """The run of the same kind and seed without a method."""
    return arms.runs.get(arm(_kind_of(run)), {}).get(run.seed)


def _points(arms: ByArm, kind: str) -> Points:
    """Method -> mean accuracy and hallucination rate of each strength, where both are there."""
    found: dict[str, list[tuple[float, float]]] = {}
    for method in (NONE, *METHODS):
        for strength in (WEAK, STRONG) if method != NONE else (STRONG,):
            name = arm(kind, method, strength)
            members = list(arms.runs.get(name, {}).values())
            known, rate = (estimate([of(run) for run in members]) for of in (accuracy, hallucination_rate))
            if known is not None and rate is not None:
                found.setdefault(method, []).append((known.mean, rate.mean))
    return found


def _trade_offs(arms: ByArm, kind: str) -> list[Series]:
    """A line for every method: what is answered rightly at each of ``RATES``."""
    members = {method: list(arms.runs.get(arm(kind, method), {}).values()) for method in (NONE, *METHODS)}
    return [
        Series(method, {rate: [right_at(run, rate) for run in runs] for rate in RATES})
        for method, runs in members.items()
        if runs
    ]


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure what every method saves and costs, for both kinds of model."""
    arms = ByArm.of_runs(runs)
    note = (
        "At the end of training, with as many steps for all; means over seeds with 95% intervals. Regret: loss on "
        "unseen people minus the baseline. A model answers where its first choice is a value and its confidence at "
        f"least {SURE}. "
        "Hallucination rate: answered share of the values of unseen people. Over-refusal: share of what the model "
        "without the method gets right about seen people that this one does not answer. The last column compares the "
        "method with a mere threshold: the share of the values of seen people that is answered rightly if the least "
        f"confidence for an answer is such that {MATCHED:.0%} of the values of unseen people are answered."
    )
    table, values = arms.table("Methods", _columns(arms), note)
    panels = {kind: points for kind in KINDS if (points := _points(arms, kind))}
    caption = (
        "Values of unseen people that are answered, against values of seen people that are known; means over seeds. "
        "The two strengths of a method are joined. Lower and further right is better."
    )
    figures: dict[str, tuple[str, DrawFigure]] = {"pareto": (caption, partial(pareto, panels))} if panels else {}
    rows = {kind: {"values of seen people\nanswered rightly": _trade_offs(arms, kind)} for kind in panels}
    if rows:
        caption = (
            "What a threshold on the confidence trades: values of seen people that are answered rightly, against "
            "values of unseen people that are answered; methods in their strong setting."
        )
        label = "values of unseen people answered"
        figures["threshold"] = caption, partial(compare_over, rows, label, logarithmic=False)
    return Findings({"arms": values}, [table], figures, arms)


_EARLY = f"if in some pair one model knows less than {LEAST_KNOWN:.0%} of the values of seen people at the end"


def _difference(
    text: str, what: str, measure: Measure, ours: str, theirs: str, decide: Callable[..., Verdict], why: str = TOO_EARLY
) -> Claim:
    side, other = ("above", "below") if decide is above else ("below", "above")
    rule = (
        f"{what}, “{ours}” minus “{theirs}”, over pairs of equal seed. Holds if its 95% interval lies {side} 0; "
        f"does not hold if it lies {other}; cannot tell otherwise, or {_EARLY}."
    )
    return Claim(
        text,
        "none published",
        rule,
        lambda arms: arms.difference_verdict(ours, theirs, measure, decide, why),
        unit=_UNITS[what],
    )


_REGRET = "Loss on unseen people at the end"
_RATE = "Answered share of the values of unseen people at the end"
_KNOWN = "Share of the values of seen people known at the end"
_UNITS = {
    _REGRET: Unit(NUMBER, "nats of loss on unseen people"),
    _RATE: Unit(POINTS, "of unseen values answered"),
    _KNOWN: ACCURACY_POINTS,
}


def _saves(text: str, what: str, measure: Measure, method: str, kind: str = DENSE) -> Claim:
    return _difference(text, what, measure, arm(kind, method), arm(kind), below)


def _refuses_little(method: str, words: str) -> Claim:
    name = arm(DENSE, method)
    rule = (
        f"Share of the values of seen people that the model without the method gets right and “{name}” does not "
        f"answer, the mean over seeds. Holds if its 95% interval lies below {REFUSED:g}; does not hold if it lies "
        f"above; cannot tell otherwise, or {_EARLY}."
    )

    def decide(arms: ByArm) -> Verdict:
        return arms.mean_verdict(name, lambda run: over_refusal(run, _without(arms, run)), below, REFUSED, TOO_EARLY)

    return Claim(
        f"{words} refuse less than a tenth of what the model knows otherwise",
        "none published",
        rule,
        decide,
        unit=Unit(SHARE, "of what was known refused"),
    )


_CLAIMS = (
    _saves("Strangers with the prior as target lower the regret", _REGRET, regret, PRIOR),
    _saves("In a mixture, strangers with the prior as target lower the regret, too", _REGRET, regret, PRIOR, EIGHT),
    _saves("Label smoothing lowers the regret", _REGRET, regret, SMOOTHING),
    _saves("A confidence penalty lowers the regret", _REGRET, regret, PENALTY),
    _difference(
        "Strangers with the prior as target lower the regret more than label smoothing",
        _REGRET,
        regret,
        arm(DENSE, PRIOR),
        arm(DENSE, SMOOTHING),
        below,
    ),
    _saves("Strangers with the prior as target lower the hallucination rate", _RATE, hallucination_rate, PRIOR),
    _saves("Strangers called unknown lower the hallucination rate", _RATE, hallucination_rate, UNKNOWN),
    _saves(
        "In a mixture, strangers called unknown lower the hallucination rate, too",
        _RATE,
        hallucination_rate,
        UNKNOWN,
        EIGHT,
    ),
    _saves("The [IDK] token lowers the hallucination rate", _RATE, hallucination_rate, IDK),
    _saves("In a mixture, the [IDK] token lowers the hallucination rate, too", _RATE, hallucination_rate, IDK, EIGHT),
    _refuses_little(PRIOR, "Models trained on strangers with the prior as target"),
    _refuses_little(UNKNOWN, "Models trained on strangers called unknown"),
    _refuses_little(IDK, "Models with the [IDK] token"),
    _difference(
        "Strangers with the prior as target cost knowledge",
        _KNOWN,
        accuracy,
        arm(DENSE, PRIOR),
        arm(DENSE),
        below,
    ),
    _difference(
        "The [IDK] token costs knowledge",
        _KNOWN,
        accuracy,
        arm(DENSE, IDK),
        arm(DENSE),
        below,
    ),
)

STUDY = Study(
    name="hallucination-methods",
    title="What do ways to hallucinate less save, and what do they cost?",
    figure="not in the paper",
    grids={SCALE: grid()},
    claims={SCALE: _CLAIMS},
    examine=examine,
)
