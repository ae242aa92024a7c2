"""Was training long enough to judge its end? A run that stopped too early must not speak for or against a claim."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from moefacts.analysis.plateau_end import CANNOT_TELL as END_UNDETERMINED
from moefacts.analysis.plateau_end import REACHED
from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.engine.verdict import Claim, Verdict, cannot_tell
from moefacts.experiments.studies._arms import LOSS, Arm, Arms, difference_claim

Values = Mapping[Any, Any]


def what_is_open(run: FinishedRun) -> str:
    """Why the end of a run's plateau is not known; empty if it is."""
    status, last = run.measures["plateau_end_status"], run.measures["last_step"]
    if status == REACHED:
        return ""
    if status == END_UNDETERMINED:
        return run.measures["plateau_end_reason"]
    boundary = "began" if run.measures["plateau_start"] is None else "ended"
    return f"stopped at step {last:,} before its plateau {boundary}"


def open_seeds(runs: Iterable[FinishedRun], why: Callable[[FinishedRun], str] = what_is_open) -> str:
    """The reasons that ``why`` gives, each with the seeds that it holds for; empty if there is none."""
    seeds: dict[str, list[str]] = {}
    for run in runs:
        if reason := why(run):
            seeds.setdefault(reason, []).append(str(run.seed))
    return "; ".join(f"seed{'s' * (len(those) > 1)} {', '.join(those)}: {reason}" for reason, those in seeds.items())


def final_claim(text: str, published: str, measure: str, ours: Arm, theirs: Arm, sign: int = -1) -> Claim:
    """``difference_claim`` about a measure at the end of training, which says nothing before plateaus end."""
    claim = difference_claim(text, published, measure, ours, theirs, sign)
    rule = claim.rule + " " + STOPPED_EARLY
    return replace(claim, rule=rule, decide=partial(_decide_final, claim.decide, ours, theirs))


STOPPED_EARLY = "Cannot tell either if both runs of some pair stopped before their plateaus ended."


def _decide_final(decide: Callable[[Arms], Verdict], ours: Arm, theirs: Arm, arms: Arms) -> Verdict:
    early = stopped_early(lambda measure: arms.values(measure, ours), lambda measure: arms.values(measure, theirs))
    return cannot_tell(early) if early else decide(arms)


def stopped_early(ours: Callable[[str], Values], theirs: Callable[[str], Values]) -> str:
    """How many pairs stopped before the plateau of either run ended, in words; empty if none did.

    One run of a pair may stay on its plateau: if the other has left it after as many steps, they differ.

    Args:
        ours: measure -> pair key, such as (size, seed) -> that measure of the first run of the pair.
        theirs: the same of the second run.
    """
    left, left_too = _have_left(ours), _have_left(theirs)
    keys = left.keys() & left_too.keys()
    early = [key for key in keys if not left[key] and not left_too[key]]
    if not early:
        return ""
    last = min(one("last_step")[key] for one in (ours, theirs) for key in early)
    return (
        f"in {len(early)} of {len(keys)} pairs both runs stopped before their plateaus ended, at step {last:,} or later"
    )


def _have_left(values: Callable[[str], Values]) -> dict[Any, bool]:
    """Whether each run's last loss is below its plateau, so that the model knows something."""
    loss, baseline, threshold = values(LOSS), values("baseline"), values("plateau_threshold")
    return {key: loss[key] < threshold[key] * baseline[key] for key in loss}
