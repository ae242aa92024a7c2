"""Does a mixture's plateau follow its active or its total parameters? No answer is published: these are hypotheses.

Mixtures of 8 experts, two per token, and of 32 experts, one per token, are compared with the dense model of the
workstation at equal active and at equal total parameters. All train at its fixed learning rate; the law of one kind
alone, at the best rate of every size, is ``moefacts reproduce plateau-law-lr --scale workstation model=…``.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from moefacts.analysis.comparison import Paired, paired_difference
from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.fading import NOT_FORGETTING
from moefacts.analysis.summary import estimate
from moefacts.analysis.table import Table
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, within
from moefacts.experiments.studies._arms import END, Arms
from moefacts.experiments.studies._paired import decide_paired, log_ratio
from moefacts.experiments.studies._units import PLATEAU_RATIO, RATIOS
from moefacts.experiments.studies.dense_vs_moe.comparison import NAMES
from moefacts.experiments.studies.plateau_law.grids import SIZES, fixed_rate, law_run
from moefacts.experiments.studies.plateau_law.knowledge import STEPS, knowledge_point
from moefacts.experiments.studies.plateau_law.points import bits_of_facts
from moefacts.experiments.studies.plateau_law.retention import RetentionPoint, retention_point, retention_values
from moefacts.runs import keys

MARGIN = 0.1  # plateau ends whose log ratio is smaller, about 10%, count as equal
_SCALE = "workstation"
_SIZES = (1024, 2048, 4096)
_DENSE = NAMES["dense"]


def grid() -> list[GridRun]:
    """Every kind of model at three sizes, the longest runs first. The dense runs are those of plateau-law."""
    return [
        law_run(_SCALE, size, seed, [f"model={_preset(kind)}", fixed_rate(_SCALE)], {"arm": name})
        for size in reversed(_SIZES)
        for kind, name in NAMES.items()
        for seed in seeds_for(size, SIZES[_SCALE][size].seeds)
    ]


def _preset(kind: str) -> str:
    family, _, rest = kind.partition("_")
    return f"{family}_{_SCALE}" + (f"_{rest}" if rest else "")


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare the plateau ends of every kind of mixture with those of the dense model, pair by pair."""
    arms = Arms(runs)
    rows, found = [], []
    for arm in arms.names:
        for size in arms.sizes:
            if members := arms.members(arm, size):
                pair = None if arm == _DENSE else arms.difference(END, arm, _DENSE, size)
                rows.append(_row(arm, size, members, arms, pair))
                found.append({"arm": arm, "size": size, "log_ratio_to_dense": pair and vars(pair)})
    columns = ["model", "people", "total parameters", "active", "facts (bits per total parameter)"]
    columns += ["plateau end (steps)", "biographies per person", "ratio to dense"]
    note = "Means ± half of the 95% Student t interval over seeds; ratios are over pairs of runs of equal seed."
    table = Table("Plateau ends of mixtures", columns, rows, note)
    tables, retention = [table], {arm: _retention(arms, arm) for arm in arms.names}
    if any(run.record.has_curve(keys.CONTROL_LOSS) for run in runs):
        tables.append(_knowledge_table(arms, retention))
    caption = (
        "Plateau ends of dense models and mixtures by population size. Dots are single seeds; bars are 95% intervals."
    )
    figures = {"mixtures": (caption, partial(_figure, arms))} if runs else {}
    values = {
        "differences_from_dense": found,
        "retention": {arm: retention_values(points) for arm, points in retention.items()},
    }
    return Findings(values, tables, figures, arms)


def _row(arm: str, size: int, members: Sequence[FinishedRun], arms: Arms, pair: Paired | None) -> list[str]:
    first = members[0]
    total, active = first.measures["parameters_total"], first.measures["parameters_active"]
    ends = list(arms.values(END, arm, size).values())
    means = [estimate(ends), estimate(_encounters(ends, size, first.record.batch_size))]
    bits = bits_of_facts(size, first.record.baseline) / total
    texts = ["–" if mean is None else mean.text() for mean in means]
    return [
        arm,
        f"{size:,}",
        f"{total:,}",
        f"{active:,}",
        f"{bits:.3f}",
        *texts,
        "–" if pair is None else pair.text(RATIOS),
    ]


def _knowledge_table(arms: Arms, retention: Mapping[str, Sequence[RetentionPoint]]) -> Table:
    """What every kind of model knows at its plateau's end, when it knows 5%, and τ there (``retention``)."""
    rows = []
    for arm in arms.names:
        time_scales = {point.size: point for point in retention[arm]}
        for size in arms.sizes:
            point = knowledge_point(size, arms.members(arm, size), "")
            if point is None:
                continue
            probed = time_scales.get(size)
            told = "–" if probed is None else ", ".join("–" if not fit else fit.text() for fit in probed.fits)
            measures = [[getattr(run, name) for run in point.runs] for name in ("steps", "floor", "at_end")]
            texts = ["–" if mean is None else mean.text() for mean in map(estimate, measures)]
            ours, dense = (arms.bounds(STEPS, one, size) for one in (arm, _DENSE))
            pair = None if arm == _DENSE else paired_difference(ours, dense, log_ratio)
            rows.append([arm, f"{size:,}", *texts, "–" if pair is None else pair.text(RATIOS), told])
    columns = ["model", "people", "steps to 5% knowledge", "floor", "knowledge at the plateau's end"]
    columns += ["ratio of steps to 5% to dense", "τ at the plateau's end, each seed (steps)"]
    note = "Knowledge and floor are in baselines; τ has its 95% interval over people. "
    note += f"{NOT_FORGETTING} No claim is about these."
    return Table("Knowledge of mixtures", columns, rows, note)


def _retention(arms: Arms, arm: str) -> list[RetentionPoint]:
    points = [retention_point(size, members) for size in arms.sizes if (members := arms.members(arm, size))]
    return [point for point in points if point is not None]


def _encounters(ends: Sequence[Any], size: int, batch_size: int) -> list[float | None]:
    return [None if end is None else end * batch_size / size for end in ends]


def _figure(arms: Arms):
    ends = {arm: {size: list(arms.values(END, arm, size).values()) for size in arms.sizes} for arm in arms.names}
    batch = arms.runs[0].record.batch_size
    met = {
        arm: {size: _encounters(of_size, size, batch) for size, of_size in by_size.items()}
        for arm, by_size in ends.items()
    }
    panels = {"plateau end (steps)": ends, "biographies per person": met}
    return compare_over(
        {"": {label: [Series(arm, by_arm[arm]) for arm in arms.names] for label, by_arm in panels.items()}}
    )


def _ends_with_dense(arm: str, arms: Arms) -> Verdict:
    decide = partial(within, low=-MARGIN, high=MARGIN)
    return decide_paired(arms.difference(END, arm, _DENSE), decide)


def _claim(kind: str, what: str) -> Claim:
    return Claim(
        f"A plateau follows {what} parameters: if these are equal, that of {NAMES[kind].partition(',')[0]} ends with "
        "the dense model's",
        "none published",
        f"Log ratio of plateau ends, “{NAMES[kind]}” to “{_DENSE}”, averaged over pairs of equal size and seed. Holds "
        f"if its 95% interval lies inside ±{MARGIN}; does not hold if it lies outside; cannot tell otherwise.",
        partial(_ends_with_dense, NAMES[kind]),
        unit=PLATEAU_RATIO,
    )


STUDY = Study(
    name="plateau-law-moe",
    title="Does a mixture's plateau follow its active or its total parameters?",
    figure="not in the paper",
    grids={_SCALE: grid()},
    claims={
        _SCALE: (
            _claim("moe", "active"),
            _claim("moe_switch", "active"),
            _claim("moe_total", "total"),
            _claim("moe_switch_total", "total"),
        )
    },
    examine=examine,
    probes=("retention_at_end",),
)
