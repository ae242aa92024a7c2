"""The moments of training whose checkpoints are looked at closely, and what they are called in captions."""

import math
from collections.abc import Sequence

from moefacts.analysis.phases import phase_measures
from moefacts.runs.reader import Run

START, END = "the plateau's start", "the plateau's end"
FIRST, LAST = "the first checkpoint", "the last checkpoint"


def marks_of(run: Run, steps: Sequence[int]) -> dict[str, float]:
    """Moment -> the step at which it is, of those that the run has reached; ``steps`` are its checkpoints."""
    if run.is_fine_tuned:
        return {FIRST: steps[0], LAST: steps[-1]}
    found = phase_measures(run)
    marks = {START: found["plateau_start"], END: found["plateau_end"], LAST: steps[-1]}
    return {name: step for name, step in marks.items() if step is not None}


def moments(run: Run, steps: Sequence[int]) -> dict[str, int]:
    """Moment -> the one of ``steps`` that is nearest to it, the earlier of two that are as near."""
    marks = marks_of(run, steps)
    return {name: min(steps, key=lambda step: (abs(step - mark), step)) for name, mark in marks.items()}


def called(names: Sequence[str]) -> str:
    """Moments that share a checkpoint, in words: "the plateau's start and end"."""
    short = [END.removeprefix("the plateau's ") if name == END and START in names else name for name in names]
    return " and ".join(short)


def names_of(run: Run, steps: Sequence[int]) -> dict[int, str]:
    """Step -> the moments that it stands for, in words; steps that stand for none are left out."""
    found: dict[int, list[str]] = {}
    for name, step in moments(run, steps).items():
        found.setdefault(step, []).append(name)
    return {step: called(found[step]) for step in sorted(found)}


def in_words(run: Run, steps: Sequence[int]) -> str:
    """All of ``moments`` with their steps, and where some share a checkpoint, what would separate them.

    For example "the plateau's start and end (both at step 125) and the last checkpoint (step 500)".
    """
    nearest = moments(run, steps)
    parts = []
    for step, name in names_of(run, steps).items():
        count = list(nearest.values()).count(step)
        parts.append(f"{name} ({('step', 'both at step', 'all at step')[count - 1]} {step:,})")
    comma = "," * (" and " in parts[-1])
    listed = ", ".join(parts[:-1]) + f"{comma} and " * (len(parts) > 1) + parts[-1]
    return listed + _separated_by(run, steps)


def _separated_by(run: Run, steps: Sequence[int]) -> str:
    """What would separate moments that share a checkpoint, in brackets; empty if none do, or nothing would."""
    marks, nearest, settings = marks_of(run, steps), moments(run, steps), run.settings.checkpoints
    apart = [
        (marks[other] - marks[one], marks[other])
        for one in marks
        for other in marks
        if nearest[one] == nearest[other] and marks[one] + 1 <= marks[other]
    ]
    if not apart:
        return ""
    distance, until = int(min(apart)[0]), math.ceil(max(late for _, late in apart))
    setting = f"checkpoints.interval={min(distance, settings.interval)}"
    if settings.interval_until < until:
        setting += f" checkpoints.interval_until={until}"
    return f". Checkpoints are too sparse to tell all of these apart; a run with {setting} would"
