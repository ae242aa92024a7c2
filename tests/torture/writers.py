"""Two writers: of two processes that write one thing, one wins whole and the other says so, or both get the same.

Each pair of commands starts in the same folder, the second at a random moment while the first runs. At the end the
folder holds what one of those that succeeded leaves there alone.
"""

import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import TINY
from tests.torture import commands
from tests.torture.crash import DATASET
from tests.torture.snapshots import difference, snapshot

_RUN, _STUDY = "run", "study"  # what a pair finds in its folder
_TRAIN = ("train", *TINY, "run.dir=run")
_REPRODUCE = ("reproduce", "tiny", "--launcher", "basic", "--out")
# Name -> what there is before, and two commands.
PAIRS: dict[str, tuple[str | None, tuple[str, ...], tuple[str, ...]]] = {
    "generate": (None, ("generate", *TINY, *DATASET, "--out", "out"), ("generate", *TINY, *DATASET, "seed=1", "--out", "out")),
    "train": (None, _TRAIN, _TRAIN),
    "train another seed": (None, _TRAIN, (*_TRAIN, "seed=1")),
    "export": (_RUN, ("export", "run", "--out", "out"), ("export", "run", "--out", "out", "--step", "4")),
    "analyze": (_RUN, ("analyze", "run"), ("analyze", "run")),
    "reproduce": (None, (*_REPRODUCE, "study/a"), (*_REPRODUCE, "study/a")),
    "reproduce what is finished beside": (_STUDY, (*_REPRODUCE, "study/b"), (*_REPRODUCE, "study/b")),
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two commands, what their folder holds before, and what each leaves there alone, in about ``seconds``."""

    name: str
    before: Path | None
    commands: tuple[tuple[str, ...], tuple[str, ...]]
    alone: tuple[dict[str, Any], dict[str, Any]]
    seconds: float


def prepare(folder: Path, *names: str) -> list[Pair]:
    """Let both commands of each pair, by default of all, run alone."""
    befores: dict[str | None, Path | None] = {None: None}
    for what, arguments in ((_RUN, _TRAIN), (_STUDY, (*_REPRODUCE, "study/a"))):
        befores[what] = folder / f"before-{what}"
        befores[what].mkdir()
        _succeed(befores[what], arguments)
    pairs = []
    for name in names or PAIRS:
        what, first, second = PAIRS[name]
        started = time.monotonic()
        alone = [_alone(folder / "alone", befores[what], arguments) for arguments in (first, second)]
        pairs.append(Pair(name, befores[what], (first, second), (alone[0], alone[1]), (time.monotonic() - started) / 2))
    return pairs


def _alone(place: Path, before: Path | None, arguments: tuple[str, ...]) -> dict[str, Any]:
    _begin(place, before)
    _succeed(place, arguments)
    return snapshot(place)


def _succeed(place: Path, arguments: tuple[str, ...]) -> None:
    outcome = commands.run(place, *arguments)
    assert outcome.code == 0, outcome


def _begin(place: Path, before: Path | None) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir() if before is None else shutil.copytree(before, place)


def failures(count: int, seed: int, folder: Path) -> Iterator[str | None]:
    """Let ``count`` pairs, chosen by ``seed``, write at once; yield what is wrong with each, or None."""
    chance = random.Random(seed)
    pairs = prepare(folder)
    for number in range(count):
        pair = pairs[number % len(pairs)]
        yield failure(pair, chance.uniform(0.0, 1.2 * pair.seconds), folder / "shared")


def failure(pair: Pair, offset: float, place: Path) -> str | None:
    """Start the second command of ``pair`` ``offset`` seconds after the first; return what is wrong in the end."""
    _begin(place, pair.before)
    first = commands.Started(place, *pair.commands[0])
    time.sleep(offset)
    outcomes = [one.wait() for one in (commands.Started(place, *pair.commands[1]), first)][::-1]
    wrong = _what_is_wrong(pair, outcomes, place)
    return wrong and f"{pair.name}, {offset:.3f} s apart: {wrong}"


def _what_is_wrong(pair: Pair, outcomes: list[commands.Outcome], place: Path) -> str | None:
    winners = [alone for alone, outcome in zip(pair.alone, outcomes, strict=True) if outcome.code == 0]
    if not winners:
        return f"neither succeeds: {outcomes}"
    for outcome in outcomes:
        if outcome.code != 0 and not (outcome.code == 2 and outcome.complaint) and not _is_incomplete(outcome):
            return f"no clear line: {outcome}"
    if len(winners) == 2 and (differing := difference(*pair.alone)):
        return f"both say that they succeeded, but not with the same: {differing}"
    found = snapshot(place)
    differences = [difference(found, alone) for alone in winners]
    return None if None in differences else differences[0]


def _is_incomplete(outcome: commands.Outcome) -> bool:
    """Whether a study left a run to the other process, and says so."""
    is_said = "left to another process, which is at work; the same command reports" in outcome.stderr
    return outcome.code == 1 and is_said and "Traceback" not in outcome.stderr
