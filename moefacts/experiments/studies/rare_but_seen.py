"""Figure P: fine-tuning on people who were seen, but rarely, against fine-tuning on people who are new.

Pretraining shows a sixteenth of the people, the celebrities, eight times as often as any of the rest. Then the rest are
shown alone. In the control, as many new people are, from the same weights.
"""

from collections.abc import Sequence

from moefacts.analysis.forgetting import forgetting_measures, learning_measures
from moefacts.analysis.forgetting_figures import forgetting_figures
from moefacts.analysis.unit import POINTS, SHARE, Unit
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above
from moefacts.experiments.studies._arms import sampling
from moefacts.experiments.studies._by_arm import ByArm, Measure
from moefacts.experiments.studies._finetuned import HALF_KNOWN, fine_tuning, new_people, pretraining
from moefacts.experiments.studies._units import ACCURACY_POINTS
from moefacts.runs import keys
from moefacts.runs.reader import Run

_SEEDS = {"laptop": 5, "paper": 1}
_PEOPLE = {"laptop": 512, "paper": 128000}  # the study's 128,000 and 8,000 celebrities
_SHARE, _WEIGHT = 16, 8
RARE, NEW = "rare people", "as many new people"
CELEBRITIES, REST = "celebrities", "rest"
_COLLAPSE = 0.5  # of the accuracy before


def _grid(scale: str) -> list[GridRun]:
    people = _PEOPLE[scale]
    famous = people // _SHARE
    cohorts = {
        CELEBRITIES: {"part_of": keys.SEEN, "stop": famous},
        REST: {"part_of": keys.SEEN, "start": famous},
    }
    learned, new = new_people(people - famous)
    settings = (
        *sampling("celebrities", num_celebrities=famous, celebrity_weight=_WEIGHT),
        f"population.new={people - famous}",
    )
    uniform = ("sampling.num_celebrities=null", "sampling.celebrity_weight=null")
    runs = []
    for seed in seeds_for(people, _SEEDS[scale]):
        first = pretraining(scale, seed, *settings, known=HALF_KNOWN, people=people)
        old = (keys.SEEN, CELEBRITIES, REST)
        runs.append(fine_tuning(scale, first, REST, cohorts, {"arm": RARE}, *uniform, old=(keys.SEEN, CELEBRITIES)))
        runs.append(fine_tuning(scale, first, learned, {**cohorts, **new}, {"arm": NEW}, *uniform, old=old))
    return runs


def lowest_share(run: Run, cohort: str = CELEBRITIES) -> float | None:
    """The lowest accuracy on a cohort over the accuracy before fine-tuning; None if nothing was known of it."""
    accuracy = run.curve(keys.ATTRIBUTE_ACCURACY, cohort)
    return float(accuracy.min() / accuracy.iloc[0]) if accuracy.iloc[0] > 0 else None


def gained(run: Run) -> float:
    """The accuracy on all people of pretraining, at the end minus before."""
    accuracy = run.curve(keys.ATTRIBUTE_ACCURACY, keys.SEEN)
    return float(accuracy.iloc[-1] - accuracy.iloc[0])


_COLUMNS: dict[str, Measure] = {
    "everybody before": lambda run: forgetting_measures(run)[keys.SEEN]["accuracy_before"],
    "everybody at the end": lambda run: forgetting_measures(run)[keys.SEEN]["accuracy_at_end"],
    "celebrities before": lambda run: forgetting_measures(run)[CELEBRITIES]["accuracy_before"],
    "celebrities at the lowest": lambda run: float(run.curve(keys.ATTRIBUTE_ACCURACY, CELEBRITIES).min()),
    "celebrities at the end": lambda run: forgetting_measures(run)[CELEBRITIES]["accuracy_at_end"],
    "shown people before": lambda run: learning_measures(run)["new_accuracy_before"],
    "shown people at the end": lambda run: learning_measures(run)["new_accuracy_at_end"],
}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure what both kinds of fine-tuning keep of celebrities and of everybody."""
    arms = ByArm.of_runs(runs)
    note = (
        "Shares of values known, in held-out templates. Shown people are the rare or the new ones, the only ones in "
        "fine-tuning. Means over seeds with 95% intervals."
    )
    table, values = arms.table("Fine-tuning on rare people, and on new ones", _COLUMNS, note)
    figures = forgetting_figures(arms.groups()) if runs else {}
    about = " Old people are the celebrities here."
    return Findings(
        {"arms": values}, [table], {name: (text + about, draw) for name, (text, draw) in figures.items()}, arms
    )


def _keeps_more(arms: ByArm) -> Verdict:
    return arms.difference_verdict(RARE, NEW, lowest_share, above, "nothing was known of celebrities before")


_CLAIMS = (
    Claim(
        "Showing the rare people alone raises the accuracy on everybody",
        "rises from about 50% to about 70%",
        f"Accuracy on everybody at the end of fine-tuning minus before, “{RARE}”. Holds if its 95% interval lies above "
        "0; does not hold if it lies below; cannot tell otherwise.",
        lambda arms: arms.mean_verdict(RARE, gained, above, 0.0, "accuracy was not measured"),
        unit=ACCURACY_POINTS,
    ),
    Claim(
        "The celebrities, who are shown no more, are not forgotten in a collapse",
        "no collapse; no number published",
        f"The lowest accuracy on celebrities over that before fine-tuning, “{RARE}”. Holds if its 95% interval lies "
        f"above {_COLLAPSE:g}; does not hold if it lies below; cannot tell otherwise.",
        lambda arms: arms.mean_verdict(RARE, lowest_share, above, _COLLAPSE, "nothing was known of celebrities before"),
        unit=Unit(SHARE, "of the accuracy on celebrities kept"),
    ),
    Claim(
        "Learning rare people costs less of the celebrities than learning as many new people",
        "new people: collapse; rare people: none; no number published",
        f"The lowest accuracy on celebrities over that before, “{RARE}” minus “{NEW}”, over pairs of equal seed. Holds "
        "if its 95% interval lies above 0; does not hold if it lies below; cannot tell otherwise.",
        _keeps_more,
        unit=Unit(POINTS, "of the accuracy on celebrities kept"),
    ),
)

STUDY = Study(
    name="rare-but-seen",
    title="Does learning people who were seen rarely cost what was known of others?",
    figure="Figure P",
    grids={scale: _grid(scale) for scale in _SEEDS},
    claims=dict.fromkeys(_SEEDS, _CLAIMS),
    examine=examine,
)
