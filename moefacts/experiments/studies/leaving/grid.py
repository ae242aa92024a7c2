"""The runs of leaving: the law's settings at four sizes, and at one size three settings that each differ in one thing.

Every run in which a quarter of the people leaves follows the run of equal settings, size and seed in which nobody does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from moefacts.analysis.phases import phase_measures
from moefacts.analysis.plateau_end import REACHED
from moefacts.errors import UserError
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies._finetuned import last_of_each
from moefacts.experiments.studies._laptop import BATCH
from moefacts.experiments.studies.plateau_law.grids import Size, fixed_rate, law_run
from moefacts.runs.reader import Run

SIZES, SIZE = (256, 512, 1024, 2048), 1024  # of the usual settings, and of the others
STAYING, LEAVING = "everybody stays", "a quarter leaves"
USUAL, WIDER, SLOWER, LARGER = "usual", "twice the width", "half the learning rate", "batches of 64"
INTERVALS = 6  # the run ends so many revisit intervals N/B after people left
_SEEDS = 3
_PER_INTERVAL = 2  # evaluations
# Settings -> overrides, and how runs are evaluated where the plateau is likely to end elsewhere (guesses)
_SETTINGS: dict[str, tuple[tuple[str, ...], Size | None]] = {
    USUAL: ((), None),
    WIDER: (("model.d_model=128", "model.d_head=32", "model.d_hidden=512"), Size(300, 30, _SEEDS, 1100)),
    SLOWER: (("training.learning_rate=1.5e-3",), Size(560, 50, _SEEDS, 1600)),
    LARGER: (("training.batch_size=64",), Size(250, 25, _SEEDS, 800)),
}


@dataclass(frozen=True)
class FromPlateauEnd:
    """Settings under which people leave where the plateau of the only needed run ended (``GridRun.settings_from``).

    Attributes:
        interval: the number of steps between two biographies of a person before anybody leaves.
    """

    interval: float

    def __call__(self, runs: Sequence[Run]) -> tuple[str, ...]:
        """The overrides.

        Raises:
            UserError: the plateau's end cannot be determined.
        """
        (run,) = runs
        measures = phase_measures(run)
        if measures["plateau_end_status"] != REACHED:
            raise UserError(f"the run in which nobody leaves has no plateau end: {measures['plateau_end_reason']}")
        return self.at(measures["plateau_end"])

    def at(self, step: int) -> tuple[str, ...]:
        """The overrides when people leave at ``step``."""
        marks = [step + round(k * self.interval / _PER_INTERVAL) for k in range(INTERVALS * _PER_INTERVAL + 1)]
        return (
            f"sampling.leaving_step={step}",
            f"training.steps={marks[-1]}",
            f"evaluation.also_at=[{','.join(map(str, marks))}]",
        )


def grid() -> list[GridRun]:
    """All runs in which nobody leaves, the largest first, then those in which people do."""
    of = [(USUAL, size) for size in reversed(SIZES)] + [(settings, SIZE) for settings in (WIDER, SLOWER, LARGER)]
    pairs = [_runs(settings, size, seed) for settings, size in of for seed in seeds_for(size, _SEEDS)]
    return [staying for staying, _ in pairs] + [leaving for _, leaving in pairs]


def _runs(settings: str, size: int, seed: int) -> tuple[GridRun, GridRun]:
    overrides, at = _SETTINGS[settings]
    labels = {"arm": STAYING, "settings": settings}
    staying = law_run("laptop", size, seed, [fixed_rate("laptop"), *overrides], labels, at=at)
    staying = replace(staying, overrides=last_of_each(*staying.overrides))
    leaves = ("sampling.kind=leaving", f"sampling.num_leaving={size // 4}", "training.stop_after_plateau=null")
    start = FromPlateauEnd(size / (2 * BATCH if settings == LARGER else BATCH))
    overrides = last_of_each(*staying.overrides, *leaves, *start.at(staying.expected_steps or 1))
    return staying, GridRun(overrides, None, {**staying.labels, "arm": LEAVING}, (staying,), start)
