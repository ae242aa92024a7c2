"""Which method keeps most of the old people when as much is known of the new, in dense models and in mixtures?

All methods start from the same weights and learn the same 128 people. They are compared when 90% of the new values are
known, not after equally many steps: a method that learns slowly forgets slowly, too.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from moefacts.analysis.comparison import Paired, Value, paired_difference
from moefacts.analysis.forgetting import forgetting_measures, learning_measures
from moefacts.experiments.engine.study import Findings, FinishedRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict, above, cannot_tell
from moefacts.experiments.studies._by_arm import ByArm, Measure
from moefacts.experiments.studies._finetuned import kept_when_new_known
from moefacts.experiments.studies._paired import decide_paired
from moefacts.experiments.studies._units import KEPT_POINTS
from moefacts.experiments.studies.finetune_methods.grid import (
    DISTILLATION,
    ESFT,
    EWC,
    FREEZE,
    FULL,
    L2_SP,
    LORA,
    METHODS,
    NEW_EXPERTS,
    REPLAY,
    SCALE,
    SELF_REPLAY,
    SPARSE,
    grid,
)
from moefacts.experiments.studies.finetune_methods.methods_figure import old_against_new
from moefacts.runs import keys
from moefacts.runs.reader import Run

LEVEL = 90  # per cent of the new values known, where methods are compared


class Evidence:
    """The finished runs: (kind, method) -> seed -> run."""

    def __init__(self, runs: Sequence[FinishedRun]):
        self.runs: dict[tuple[str, str], dict[int, Run]] = {}
        for run in runs:
            self.runs.setdefault((run.labels["kind"], run.labels["method"]), {})[run.seed] = run.record

    def values(self, method: str) -> dict[tuple[str, int], Value]:
        """(kind, seed) -> the share of old accuracy kept when ``LEVEL`` per cent of the new values are known."""
        return {
            (kind, seed): kept_when_new_known(run, LEVEL)
            for (kind, one), runs in self.runs.items()
            if one == method
            for seed, run in runs.items()
        }

    def difference(self, ours: str, theirs: str) -> Paired | None:
        """The mean difference of what two methods keep, over pairs of equal kind and seed."""
        return paired_difference(self.values(ours), self.values(theirs))

    def panels(self) -> Mapping[str, Mapping[str, Sequence[Run]]]:
        """Kind -> method -> runs."""
        found: dict[str, dict[str, Sequence[Run]]] = {}
        for (kind, method), runs in self.runs.items():
            found.setdefault(kind, {})[method] = list(runs.values())
        return found


def _old(run: Run, key: str) -> float | None:
    value: float | None = forgetting_measures(run)[keys.SEEN][key]
    return value


def _seconds_per_step(run: Run) -> float | None:
    seconds = run.manifest.get("wall_seconds")
    return None if seconds is None else seconds / max(1, int(run.evaluations.index[-1]))


_COLUMNS: dict[str, Measure] = {
    "weights that learn": lambda run: run.manifest.get("trained_parameters"),
    "old before": lambda run: _old(run, "accuracy_before"),
    "old when 50% of new": lambda run: _old(run, "accuracy_when_new_50"),
    "old when 90% of new": lambda run: _old(run, "accuracy_when_new_90"),
    "old when 99% of new": lambda run: _old(run, "accuracy_when_new_99"),
    "steps to 90% of new": lambda run: learning_measures(run)["steps_to_90_new_accuracy"],
    "seconds a step, evaluations included": _seconds_per_step,
}


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Measure what every method keeps and costs, for every kind of model."""
    evidence = Evidence(runs)
    note = (
        "Shares of values known, in held-out templates; means over seeds with 95% intervals. A run ends when 99% of "
        "the new values are known. Seconds are those of this machine, beside whatever else it did."
    )
    table, values = ByArm.of_runs(runs).table("Methods", _COLUMNS, note)
    caption = (
        "Old against new values known, mean over seeds. A line ends, with its mark, where some seed knows no more of "
        "the new people. Higher and further right is better."
    )
    figures = {"methods": (caption, partial(old_against_new, evidence.panels(), list(METHODS)))} if runs else {}
    return Findings({"arms": values}, [table], figures, evidence)


def _keeps_more(ours: str, theirs: str, evidence: Evidence) -> Verdict:
    """The rule of every claim."""
    values, others = evidence.values(ours), evidence.values(theirs)
    pairs = values.keys() & others.keys()
    missing = [key for key in pairs if values[key] is None or others[key] is None]
    if missing:
        return cannot_tell(f"in {len(missing)} of {len(pairs)} pairs 90% of the new values are not known")
    return decide_paired(evidence.difference(ours, theirs), partial(above, bound=0.0))


def _claim(text: str, published: str, ours: str, theirs: str = FULL) -> Claim:
    rule = (
        f"Share of old accuracy kept when {LEVEL}% of the new values are known, “{ours}” minus “{theirs}”, over pairs "
        "of equal kind of model and seed. Holds if its 95% interval lies above 0; does not hold if it lies below; "
        "cannot tell otherwise, or if some run never knows 90% of the new values."
    )
    decide: Callable[[Evidence], Verdict] = partial(_keeps_more, ours, theirs)
    return Claim(text, published, rule, decide, unit=KEPT_POINTS)


_NONE = "none published"
_CLAIMS = (
    _claim("Replay keeps more than learning the new people alone", "improves the final level (the study)", REPLAY),
    _claim(
        "Replay of what the model itself says keeps more than none",
        "nearly eliminates forgetting (arXiv 2605.26097, other data)",
        SELF_REPLAY,
    ),
    _claim("LoRA keeps more than full fine-tuning", "loses 71% against 89% (arXiv 2510.15103, other data)", LORA),
    _claim(
        "Freezing the embeddings and the first half of the layers keeps more than full fine-tuning",
        "44% of old kept against 11% (arXiv 2501.13453)",
        FREEZE,
    ),
    _claim("EWC keeps more than full fine-tuning", _NONE, EWC),
    _claim("L2-SP keeps more than full fine-tuning", _NONE, L2_SP),
    _claim(
        "Sparse memory over neurons keeps more than full fine-tuning",
        "loses 11% against 89% (arXiv 2510.15103, memory layers, other data)",
        SPARSE,
    ),
    _claim(
        "Sparse memory over neurons keeps more than LoRA",
        "loses 11% against 71% (arXiv 2510.15103, memory layers, other data)",
        SPARSE,
        LORA,
    ),
    _claim("Self-distillation on strangers keeps more than full fine-tuning", _NONE, DISTILLATION),
    _claim("In mixtures, training only the most relevant experts (ESFT) keeps more than full fine-tuning", _NONE, ESFT),
    _claim("In mixtures, training only experts that are added keeps more than full fine-tuning", _NONE, NEW_EXPERTS),
)

STUDY = Study(
    name="finetune-methods",
    title="Which method keeps most of what was known when new people are learned?",
    figure="not in the paper",
    grids={SCALE: grid()},
    claims={SCALE: _CLAIMS},
    examine=examine,
)
