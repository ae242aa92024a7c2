"""What every benchmark is given, and what every benchmark gives back for the table."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moefacts.config.presets import compose
from moefacts.config.schema import RunConfig
from moefacts.experiments.tasks.materials import Materials, prepare
from moefacts.synthetic_data.batches import Batch
from moefacts.training.step import TrainingStep


@dataclass(frozen=True)
class Setting:
    """How often to measure, and overrides of the configuration, which have the last word."""

    rounds: int
    overrides: tuple[str, ...] = ()

    def config(self, *overrides: str) -> RunConfig:
        """The configuration of one candidate; laptop scale unless an override says otherwise."""
        return compose([*overrides, *self.overrides])


@dataclass(frozen=True)
class Row:
    """One line of the results table; ``holds`` says whether the goal is met, None where there is no goal."""

    measure: str
    value: str
    goal: str = ""
    holds: bool | None = None

    def text(self) -> str:
        """For the terminal."""
        verdict = {None: "", True: "met", False: "not met"}[self.holds]
        return f"  {self.measure:64s} {self.value:26s} {f'goal {self.goal}: {verdict}' if self.goal else ''}".rstrip()


def ratio_text(measured: dict[str, float]) -> str:
    """Median and quartiles of what ``Spread.as_ratio`` gave."""
    return f"{measured['ratio']:.2f} [{measured['low']:.2f}, {measured['high']:.2f}]"


Result = dict[str, Any]


def comparison_rows(result: Result, goal: Callable[[str, str, float], tuple[str, bool | None]]) -> list[Row]:
    """A line for every candidate of what ``timing.compare`` gave, over the first of its comparison.

    Args:
        result: the benchmark's result; entries of another form are passed over.
        goal: from a comparison's title, a candidate and its ratio to the goal's text and whether it is met.
    """
    table = []
    for title, candidates in result.items():
        if not isinstance(candidates, dict) or "ratio" not in next(iter(candidates.values()), {}):
            continue
        first, *others = candidates
        for name in others:
            text, holds = goal(title, name, candidates[name]["ratio"])
            table.append(Row(f"{title}: {name} / {first}", ratio_text(candidates[name]), text, holds))
    return table


def no_goal(_title: str, _name: str, _ratio: float) -> tuple[str, None]:
    """For comparisons that only inform."""
    return "", None


@dataclass
class TrainingCase:
    """The training step of one configuration, and the batches that it is measured on, in turns."""

    config: RunConfig
    num_batches: int = 8
    materials: Materials = field(init=False)
    step: TrainingStep = field(init=False)
    batches: list[Batch] = field(init=False)

    def __post_init__(self) -> None:
        self.materials = prepare(self.config)
        self.step = TrainingStep(self.config, self.materials.model, self.materials.device)
        batcher, size = self.materials.batcher, self.config.training.batch_size
        self.batches = [batcher.training_batch(number, size) for number in range(self.num_batches)]

    def stepper(self) -> Callable[[], object]:
        """A function that takes the next step every time it is called."""
        numbers = itertools.count()

        def run() -> object:
            number = next(numbers)
            return self.step(number, self.batches[number % self.num_batches])

        return run

    @property
    def tokens_per_batch(self) -> float:
        """Target tokens of a batch that are not padding, on average."""
        return sum(batch.num_targets for batch in self.batches) / self.num_batches
