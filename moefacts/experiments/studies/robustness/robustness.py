"""Figure C: the three phases with other learning rates, populations, weight decays, batches, models and mixers."""

from collections.abc import Sequence
from functools import partial

from moefacts.analysis.summary import format_number
from moefacts.analysis.table import Table
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.study import Findings, FinishedRun, GridRun, Study
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS, Claim, Verdict, cannot_tell
from moefacts.experiments.studies import _laptop as laptop
from moefacts.experiments.studies._unseen import unseen_at_both_ends
from moefacts.experiments.studies.phases import PLATEAU_SHARE, three_phases, why_unclear
from moefacts.experiments.studies.robustness.robustness_figures import Curve, curves_by_biographies
from moefacts.runs.thresholds import PLATEAU_CEILING, PLATEAU_FLOOR

Settings = dict[str, dict[str, tuple[str, ...]]]  # varied setting -> value -> overrides
# Name -> width, number of heads (of the same width), feed-forward width.
_LAPTOP_MODELS = {"d 32": (32, 2, 128), "d 64": (64, 4, 256), "d 96": (96, 6, 384)}
_LAPTOP: Settings = {
    "learning rate": {rate: (f"training.learning_rate={rate}",) for rate in laptop.LEARNING_RATES},
    "people": {f"{size:,}": (f"population.size={size}",) for size in (512, 1024, 2048)},
    "weight decay": {decay: (f"training.weight_decay={decay}",) for decay in ("0.01", "0.1", "1.0")},
    "model size": {
        name: (f"model.d_model={width}", f"model.num_heads={heads}", f"model.d_hidden={hidden}")
        for name, (width, heads, hidden) in _LAPTOP_MODELS.items()
    },
    "mixer": {"attention": (), "recurrence": ("model=dense_laptop_recurrent",)},
}
_PAPER: Settings = {
    "learning rate": {rate: (f"training.learning_rate={rate}",) for rate in ("1e-4", "2e-4", "4e-4", "8e-4", "16e-4")},
    "people": {f"{size:,}": (f"population.size={size}",) for size in (16000, 64000, 128000)},
    "weight decay": {decay: (f"training.weight_decay={decay}",) for decay in ("0.01", "0.1", "1.0")},
    "model size": {name: (f"model=dense_{name}",) for name in ("44m", "163m", "400m")},
    "mixer": {"attention": (), "recurrence": ("model=dense_44m_recurrent",)},
}
_SETTINGS = {"laptop": _LAPTOP, "paper": _PAPER}
_BIOGRAPHIES = {"laptop": 2000 * laptop.BATCH, "paper": 16000 * 128}  # no run sees more
_BATCH_SIZES = {"laptop": (8, 16, 32, 64, 128), "paper": (32, 64, 128, 256, 512)}  # 1/4 to 4 times the usual size
_BASE_BATCH, _BASE_INTERVAL = {"laptop": laptop.BATCH, "paper": 128}, {"laptop": 60, "paper": 25}
_PEOPLE = {"laptop": 1024, "paper": 64000}  # unless their number is varied
RUNS_NEEDED = 2  # to say that something holds whatever is varied
_EXPECTED_SHARE = 0.5  # the share of its steps that a run is likely to take, as it stops soon after its plateau


def _run(scale: str, varied: str, value: str, overrides: tuple[str, ...], batch_size: int | None = None) -> GridRun:
    """A run. The number of biographies, in total and between evaluations, is the same for every batch size."""
    batch_size = batch_size or _BASE_BATCH[scale]
    steps = _BIOGRAPHIES[scale] // batch_size
    interval = max(1, _BASE_INTERVAL[scale] * _BASE_BATCH[scale] // batch_size)
    common = [f"training.batch_size={batch_size}", f"training.steps={steps}", f"evaluation.interval={interval}"]
    common += [f"evaluation.interval_after_plateau={2 * interval}", unseen_at_both_ends(interval, factor=1000)]
    expected = None
    given = dict(override.split("=") for override in overrides)
    size = int(given.get("population.size", _PEOPLE[scale]))
    if "population.size" not in given:
        common.append(f"population.size={size}")
    if scale == "laptop":
        common.append(f"training.stop_after_plateau={steps // 7}")
        if "training.learning_rate" not in given:
            common.append(f"training.learning_rate={laptop.LEARNING_RATE}")
        expected = int(_EXPECTED_SHARE * steps)
    return GridRun((*overrides, *common, f"seed={seeds_for(size, 1)[0]}"), expected, {"part": varied, "value": value})


def _grid(scale: str) -> list[GridRun]:
    runs = [
        _run(scale, varied, value, overrides)
        for varied, values in _SETTINGS[scale].items()
        for value, overrides in values.items()
    ]
    return runs + [_run(scale, "batch size", str(size), (), size) for size in _BATCH_SIZES[scale]]


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Find the phases with every setting, and prepare the curves against biographies seen."""
    rows = []
    for run in runs:
        measures, batch = run.measures, run.record.batch_size
        end = measures["plateau_end_interpolated"]
        rows.append(
            [
                run.labels["part"],
                run.labels["value"],
                f"{measures['parameters_total']:,}",
                format_number(measures["plateau_start"]),
                format_number(end),
                "–" if end is None else f"{end * batch:,.0f}",
                {True: "yes", False: "no", None: "cannot tell"}[three_phases(run)],
            ]
        )
    columns = ["varied", "value", "parameters", "plateau start (step)", "plateau end (step)", "biographies until then"]
    note = "One seed. Whatever is not varied has the scale's default."
    curves: dict[str, list[Curve]] = {}
    for run in runs:
        curves.setdefault(run.labels["part"], []).append(Curve(run.labels["value"], run.record))
    caption = "Attribute loss over the baseline against biographies seen. Each panel varies one setting."
    figures = {"robustness": (caption, partial(curves_by_biographies, curves))}
    return Findings({}, [Table("Three phases?", [*columns, "three phases"], rows, note)], figures, runs)


def _phases_in_all(varied: str | None, runs: Sequence[FinishedRun]) -> Verdict:
    """Decide whether all runs that vary the setting ``varied`` have three phases; None stands for every run."""
    varying = [run for run in runs if varied in (None, run.labels["part"])]
    if len(varying) < RUNS_NEEDED:
        return cannot_tell(f"there are fewer than {RUNS_NEEDED} runs")
    answers = {f"{run.labels['part']} {run.labels['value']}": three_phases(run) for run in varying}
    reasons = [why_unclear(run) for run in varying]
    text = f"in {sum(one is True for one in answers.values())} of {len(answers)} runs"
    if without := [name for name, one in answers.items() if one is False]:
        text += f"; not with {', '.join(without)}"
    if unclear := [f"{name} ({reason})" for name, reason in zip(answers, reasons, strict=True) if reason]:
        text += f"; cannot tell with {', '.join(unclear)}"
    if without:
        return Verdict(DOES_NOT_HOLD, text)
    return cannot_tell(text) if unclear else Verdict(HOLDS, text)


_RULE = (
    f"Holds if, in every run, the loss comes within {PLATEAU_CEILING - 1:.0%} of the baseline and later falls below "
    f"{PLATEAU_FLOOR} of it, and the plateau in between lasts at least {PLATEAU_SHARE:.0%} of the steps up to its end; "
    "does not hold if, in some run, it ends after fewer. Cannot tell otherwise, because training stopped too early or "
    f"the plateau's start or end cannot be determined well enough, or with fewer than {RUNS_NEEDED} runs."
)
_CLAIMS = (
    Claim("There are three phases, whatever is varied", "three phases in all", _RULE, partial(_phases_in_all, None)),
    *(
        Claim(
            f"There are three phases, whatever the {'number of people' if varied == 'people' else varied}",
            "three phases in all",
            _RULE,
            partial(_phases_in_all, varied),
        )
        for varied in ("learning rate", "people", "weight decay", "batch size", "model size", "mixer")
    ),
)

STUDY = Study(
    name="robustness",
    title="Are there three phases with other settings, sizes and architectures?",
    figure="Figure C",
    grids={scale: _grid(scale) for scale in _SETTINGS},
    claims=dict.fromkeys(_SETTINGS, _CLAIMS),
    examine=examine,
)
