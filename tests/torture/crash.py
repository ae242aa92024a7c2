"""Crashes: whenever a command is killed, the same command again ends in the same bits, and nothing is left over.

A command is killed before one of the things that it does to files (``file_events``), or at a random moment. Then it
runs again, sometimes to be killed once more. At the end the folder holds what it holds without any kill.
"""

import functools
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import TINY
from tests.torture import commands, file_events
from tests.torture.snapshots import difference, snapshot

DATASET = ("dataset.train=50", "dataset.validation=8", "dataset.unseen=8")
COMMANDS = {  # name -> arguments; all but the first two work on a run that is finished
    "train": ("train", *TINY, "training.log_interval=2", "run.dir=run"),
    "generate": ("generate", *TINY, *DATASET, "--out", "out"),
    "extend": ("train", "--resume", "run", "training.steps=16"),
    "finetune": ("finetune", "run", "--new", "4", "training.steps=8", "run.dir=tuned"),
    "export": ("export", "run", "--out", "out"),
    "analyze": ("analyze", "run"),
}
_NEED_A_RUN = ("extend", "finetune", "export", "analyze")
_SHARE_KILLED_TWICE = 0.25


@dataclass(frozen=True)
class Victim:
    """A command: what the folder holds before it and after it, how long it takes, and what it does to files."""

    name: str
    before: Path | None
    after: dict[str, Any]
    seconds: float
    events: list[str]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows ``moefacts``."""
        return COMMANDS[self.name]


@dataclass(frozen=True)
class Kill:
    """A command is killed before its event ``event``, counted from 1, or after ``seconds``; perhaps again later."""

    victim: Victim
    event: int | None
    seconds: float
    again: int | None

    def __str__(self) -> str:
        event = None if self.event is None else self.victim.events[self.event - 1]
        place = f"after {self.seconds:.3f} s" if event is None else f"before event {self.event} ({event})"
        return f"{self.victim.name}, killed {place}" + (f", again before event {self.again}" if self.again else "")


def prepare(folder: Path, *names: str) -> list[Victim]:
    """Let the commands of these names, by default all, run undisturbed in ``folder``."""
    victims: list[Victim] = []
    commands.run(folder, "--version")  # starts the server, which takes longer than any command
    for name in names or COMMANDS:
        place = folder / f"whole-{name}"
        before = folder / "whole-train" if name in _NEED_A_RUN else None
        _begin(place, before)
        log = folder / f"{name}.events"
        started = time.monotonic()
        outcome = commands.run(place, *COMMANDS[name], first=functools.partial(file_events.list_events, log))
        assert outcome.code == 0, outcome
        seconds = time.monotonic() - started
        victims.append(Victim(name, before, snapshot(place), seconds, log.read_text().splitlines()))
    return victims


def _begin(place: Path, before: Path | None) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir() if before is None else shutil.copytree(before, place)


def kills(victims: list[Victim], count: int, seed: int) -> list[Kill]:
    """``count`` kills: before every event, or before as many as make up half of them, and at random moments."""
    chance = random.Random(seed)
    points = [(victim, event + 1) for victim in victims for event in range(len(victim.events))]
    chance.shuffle(points)

    def again(victim: Victim) -> int | None:
        return chance.randint(1, len(victim.events)) if chance.random() < _SHARE_KILLED_TWICE else None

    chosen = [Kill(victim, event, 0.0, again(victim)) for victim, event in points[: (count + 1) // 2]]
    while len(chosen) < count:
        victim = chance.choice(victims)
        chosen.append(Kill(victim, None, chance.uniform(0.0, victim.seconds), again(victim)))
    return chosen


def failures(count: int, seed: int, folder: Path) -> Iterator[str | None]:
    """Kill ``count`` commands, chosen by ``seed``; yield what is wrong with each, or None."""
    for kill in kills(prepare(folder), count, seed):
        yield failure(kill, folder / "killed")


def failure(kill: Kill, place: Path) -> str | None:
    """Kill a command in the folder ``place``, run it again, and return what is wrong then, or None."""
    victim = kill.victim
    _begin(place, victim.before)
    if kill.event is None:
        started = commands.Started(place, *victim.arguments)
        time.sleep(kill.seconds)
        started.kill()
        started.wait()
    else:
        dies = functools.partial(file_events.die_before, kill.event)
        if commands.run(place, *victim.arguments, first=dies).code != -9:
            return f"{kill}: it was not killed"
    if kill.again:
        commands.run(place, *victim.arguments, first=functools.partial(file_events.die_before, kill.again))
    outcome = commands.run(place, *victim.arguments)
    wrong = difference(snapshot(place), victim.after)
    if not (outcome.code == 0 or (_was_whole(victim, outcome) and wrong is None)):
        return f"{kill}: {outcome}"
    return wrong and f"{kill}: {wrong}"


def _was_whole(victim: Victim, outcome: commands.Outcome) -> bool:
    """Whether it was killed after all was done, so that the same command finds its own result."""
    return "--out" in victim.arguments and outcome.code == 2 and "is not an empty folder" in outcome.complaint
