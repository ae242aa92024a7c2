"""What every benchmark receives (its setting) and returns (rows of the results table)."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moefacts.config.presets import compose
from moefacts.config.schema import RunConfig
from moefacts.experiments.tasks.materials import Materials, prepare
from moefacts.synthetic_data.batches import Batch
from moefacts.training.step import StepMeasures, TrainingStep


@dataclass(frozen=True)
class Setting:
    """How often to measure, and overrides of the configuration, which take precedence."""

    rounds: int
    overrides: tuple[str, ...] = ()

    def config(self, *overrides: str) -> RunConfig:
        """The configuration of one candidate, at laptop scale unless an override says otherwise."""
        return compose([*overrides, *self.overrides])


@dataclass(frozen=True)
class Row:
    """One row of the results table; ``holds`` says whether the goal is met, and is None without a goal."""

    measure: str
    value: str
    goal: str = ""
    holds: bool | None = None

    def text(self) -> str:
        """The row as a line of text for the terminal."""
        verdict = {None: "", True: "met", False: "not met"}[self.holds]
        return f"  {self.measure:64s} {self.value:26s} {f'goal {self.goal}: {verdict}' if self.goal else ''}".rstrip()


def ratio_text(measured: dict[str, float]) -> str:
    """The median and quartiles of a result of ``Spread.as_ratio``, as text."""
    return f"{measured['ratio']:.2f} [{measured['low']:.2f}, {measured['high']:.2f}]"


Result = dict[str, Any]


def comparison_rows(result: Result, goal: Callable[[str, str, float], tuple[str, bool | None]]) -> list[Row]:
    """One row for every candidate in a result of ``timing.compare``, as a ratio over the first candidate.

    Args:
        result: the benchmark's result; entries of another form are skipped.
        goal: maps a comparison's title, a candidate and its ratio to the goal's text and whether it is met.
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
    """The ``goal`` of comparisons that have none."""
    return "", None


@dataclass
class TrainingCase:
    """The training step of one configuration, and the batches on which it is measured in turns."""

    config: RunConfig
    num_batches: int = 8
    materials: Materials = field(init=False)
    step: TrainingStep = field(init=False)
    batches: list[Batch] = field(init=False)

    def __post_init__(self) -> None:
        self.materials = prepare(self.config)
        self.step = TrainingStep(
            self.config, self.materials.model, self.materials.device, batcher=self.materials.batcher
        )
        batcher, size = self.materials.batcher, self.config.training.batch_size
        self.batches = [batcher.training_batch(number, size) for number in range(self.num_batches)]

    def stepper(self) -> Callable[[], StepMeasures]:
        """A function that makes the next training step every time it is called."""
        numbers = itertools.count()

        def run() -> StepMeasures:
            number = next(numbers)
            return self.step(number, self.batches[number % self.num_batches])

        return run

    @property
    def tokens_per_batch(self) -> float:
        """The average number of target tokens in a batch that are not padding."""
        return sum(batch.num_targets for batch in self.batches) / self.num_batches
