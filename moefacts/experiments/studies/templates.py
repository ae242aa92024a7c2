"""Figure A: without variety in the texts about a person, a model memorises the texts and not the facts in them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.analysis.unit import SHARE, Unit
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above, below, cannot_tell
from moefacts.experiments.studies._arms import ACCURACY, EVALUATION, LOSS, MEASURES, Arms, arm_runs
from moefacts.experiments.studies._trained import final_claim
from moefacts.runs.thresholds import PLATEAU_FLOOR

COUNTS = (1, 2, 4, 8, 16)
SHUFFLED, FIXED = "shuffled", "fixed order"
_SETTINGS = {"laptop": (512, 600, 3), "paper": (64000, 16000, 1)}  # people, steps, seeds


def arm_name(order: str, count: int) -> str:
    """The name of the arm with ``count`` templates per person and attribute, and sentences in order ``order``."""
    return f"{order}, {count} template{'s' * (count > 1)}"


ONE, MANY, MANY_FIXED = arm_name(SHUFFLED, 1), arm_name(SHUFFLED, 16), arm_name(FIXED, 16)


def _grid(scale: str) -> list[GridRun]:
    size, steps, seeds = _SETTINGS[scale]
    arms = {
        arm_name(order, count): (
            f"sampling.templates_per_individual={count}",
            f"sampling.shuffle_sentences={str(order == SHUFFLED).lower()}",
        )
        for order in (SHUFFLED, FIXED)
        for count in COUNTS
    }
    return arm_runs(scale, arms, size, seeds, f"training.steps={steps}", *EVALUATION[scale])


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare held-out and training loss by the number of templates and the order of sentences."""
    arms = Arms(runs)
    rows, series = [], {}
    for order in (SHUFFLED, FIXED):
        counts = {count: arms.members(arm_name(order, count)) for count in COUNTS}
        for count, members in counts.items():
            if members:
                of: dict[str, Any] = {key: [run.measures[key] for run in members] for key in (LOSS, ACCURACY)}
                of["training"] = [run.record.final_training_loss for run in members]
                means = [estimate(values) for values in of.values()]
                rows.append([order, str(count), *(mean.text() if mean else "–" for mean in means)])
        series[order] = {count: members for count, members in counts.items() if members}
    columns = ["sentences", "templates", MEASURES[LOSS], MEASURES[ACCURACY], "final training loss (nats per token)"]
    note = (
        "Templates are counted per person and attribute. Attribute loss and accuracy are measured in templates never "
        "seen for that person, in shuffled order. A fixed order is fixed for each person, but differs between people."
    )
    figures = {"templates": ("Held-out loss and training loss against templates per person.", partial(_figure, series))}
    return Findings({}, [Table("Variety of biographies", columns, rows, note)], figures, arms)


def _figure(series: dict[str, dict[int, list[FinishedRun]]]):
    def lines(measure) -> list[Series]:
        return [
            Series(order, {n: [measure(r) for r in runs] for n, runs in by.items()}) for order, by in series.items()
        ]

    panels = {
        MEASURES[LOSS]: lines(lambda run: run.measures[LOSS]),
        MEASURES[ACCURACY]: lines(lambda run: run.measures[ACCURACY]),
        "training loss (nats per token)": lines(lambda run: run.record.final_training_loss),
    }
    return compare_over({"": panels}, "templates per person and attribute")


def _over_baseline(arm: str, stays: bool, arms: Arms) -> Verdict:
    """Decide whether the final held-out loss lies above (``stays``) or below ``PLATEAU_FLOOR`` of the baseline."""
    members = arms.members(arm)
    if early := [f"{run.seed}" for run in members if not _knows_its_texts(run)]:
        return cannot_tell(f"“{arm}” has not learned its own texts in seed {', '.join(early)}")
    ratios: list[float | None] = [run.measures[LOSS] / run.record.baseline for run in members]
    mean = estimate(ratios)
    if mean is None:
        return cannot_tell(f"“{arm}” has no runs")
    interval = None if mean.low is None or mean.high is None else (mean.low, mean.high)
    return (above if stays else below)(mean.mean, interval, PLATEAU_FLOOR, mean.count)


def _knows_its_texts(run: FinishedRun) -> bool:
    """Whether the attribute loss in training has left the plateau, so that held-out loss shows what was learned."""
    loss = run.record.final_training_attribute_loss
    return loss is not None and loss < PLATEAU_FLOOR * run.record.baseline


def _level_claim(text: str, arm: str, stays: bool) -> Claim:
    side, other = ("above", "below") if stays else ("below", "above")
    rule = (
        f"Final held-out attribute loss of “{arm}” over the baseline. Holds if its 95% interval over seeds lies {side} "
        f"{PLATEAU_FLOOR}; does not hold if it lies {other}; cannot tell otherwise, or if in some seed the attribute "
        f"loss in training has not fallen below {PLATEAU_FLOOR} of the baseline."
    )
    return Claim(
        text, "no number published", rule, partial(_over_baseline, arm, stays), unit=Unit(SHARE, "of the baseline")
    )


_CLAIMS = (
    _level_claim("With many templates and shuffled sentences, the model learns facts", MANY, False),
    _level_claim("With one template, the model does not learn facts: held-out loss stays high", ONE, True),
    _level_claim("Without shuffling, the model does not learn facts, even with many templates", MANY_FIXED, True),
    final_claim("With one template, held-out loss ends higher", "no number published", LOSS, ONE, MANY, 1),
    final_claim("Without shuffling, held-out loss ends higher", "no number published", LOSS, MANY_FIXED, MANY, 1),
)

STUDY = Study(
    name="templates",
    title="How varied must biographies be for facts, and not text, to be learned?",
    figure="Figure A",
    grids={scale: _grid(scale) for scale in _SETTINGS},
    claims=dict.fromkeys(_SETTINGS, _CLAIMS),
    examine=examine,
)
