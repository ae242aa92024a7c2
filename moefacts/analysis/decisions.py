"""Hallucination as a decision problem: what the answers in the decisions table of a run are worth, by cohort.

About people whom training has not shown, the ideal answer is known: all values are equally likely. So the ideal loss is
ln(values), the no-knowledge baseline.
"""

from typing import Any

import numpy as np
import pandas as pd

from moefacts.analysis.calibration import expected_calibration_error
from moefacts.analysis.selective import RiskCoverage
from moefacts.runs import keys
from moefacts.runs.reader import Run

RISKS, COVERAGES = (0.01, 0.05, 0.1), (0.8, 0.9)
_DETECTED = 0.95

# Measure -> what it means, in the order of the tables
DECISION_MEANINGS = {
    "answers": "number of answers",
    "accuracy": "share of answers that are right",
    "abstained": "share of answers that a model taught to say “unknown” or [IDK] says instead",
    "confidence": "mean probability of the likeliest value",
    "value_entropy": "mean entropy over all values of the attribute (nats)",
    "loss": "mean −ln of the true value's probability (nats)",
    "regret": "that loss minus ln(values), the loss of the ideal answer about a stranger (nats)",
    "aurc": "area under the risk–coverage curve; 0 is best",
    "excess_aurc": "that area minus the one if all right answers were surer than all wrong ones",
    "augrc": "area under the generalised curve: errors among all answers, at every coverage",
    **{f"coverage_at_{100 * risk:g}_risk": f"share of answers given at a risk of at most {risk:.0%}" for risk in RISKS},
    **{f"risk_at_{100 * c:g}_coverage": f"share of wrong answers among the surest {c:.0%}" for c in COVERAGES},
    "brier": "mean square of 1 − confidence where right and of confidence where wrong",
    "ece_equal_width": "expected calibration error, 15 bins of equal width",
    "ece_equal_mass": "expected calibration error, 15 bins of equally many answers",
    "auroc": "how well mean confidence tells who was shown from these people (0.5 chance, 1 perfect)",
    "fpr_at_95_tpr": "share of these people taken for known where 95% of those who were shown are",
}


def answers_by_cohort(run: Run) -> dict[str, pd.DataFrame]:
    """The answers about every probed cohort, and about the ``mixtures``; empty if the run has not been probed."""
    table = run.decisions
    if table is None:
        return {}
    cohorts = {str(cohort): rows for cohort, rows in table.groupby("cohort", sort=False)}
    return cohorts | mixtures(table, run.shown_cohort, run.unseen_cohorts)


def mixtures(table: pd.DataFrame, shown: str | None, unseen: list[str]) -> dict[str, pd.DataFrame]:
    """The answers about half people of the cohort ``shown`` and half of another one, for each that was not shown.

    There are as many people of the one as of the other: the first of each in the table, where they are in random order.
    """
    one = table[table["cohort"] == shown]
    parts = {name: table[table["cohort"] == name] for name in unseen}
    return {
        mixture_label(shown, name): _mixture(one, other)
        for name, other in parts.items()
        if shown is not None and len(one) and len(other)
    }


def mixture_label(shown: str, unseen: str) -> str:
    """The name of the mixture of two cohorts in equal parts."""
    return f"half {shown}, half {unseen}"


def main_unseen(unseen: list[str]) -> str | None:
    """The cohort that stands for those that were not shown: ``unseen``, or else the first; None if there is none."""
    return keys.UNSEEN if keys.UNSEEN in unseen else next(iter(unseen), None)


def main_mixture(shown: str | None, unseen: list[str]) -> str | None:
    """The mixture by which a run is judged: that with ``main_unseen``; None if there is none."""
    other = main_unseen(unseen)
    return None if shown is None or other is None else mixture_label(shown, other)


def _mixture(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    people = min(one["individual"].nunique(), other["individual"].nunique())
    return pd.concat([rows[rows["individual"].isin(rows["individual"].unique()[:people])] for rows in (one, other)])


def curve_of(answers: pd.DataFrame) -> RiskCoverage:
    """The risk-coverage curve of some answers."""
    return RiskCoverage.of(answers["confidence"].to_numpy(), answers["right"].to_numpy())


def decision_measures(answers: pd.DataFrame) -> dict[str, float]:
    """The measures in ``DECISION_MEANINGS`` of some answers, but for those that need another cohort."""
    from sklearn.metrics import brier_score_loss

    confidence, right = answers["confidence"].to_numpy().clip(0, 1), answers["right"].to_numpy()
    curve, loss = curve_of(answers), float(answers[keys.ATTRIBUTE_LOSS].mean())
    return {
        "answers": len(answers),
        "accuracy": float(right.mean()),
        "abstained": float(answers["abstained"].mean()),
        "confidence": float(confidence.mean()),
        "value_entropy": float(answers["value_entropy"].mean()),
        "loss": loss,
        "regret": loss - float(np.log(answers["num_values"]).mean()),
        "aurc": curve.aurc,
        "excess_aurc": curve.excess_aurc,
        "augrc": curve.augrc,
        **{f"coverage_at_{100 * risk:g}_risk": curve.coverage_at(risk) for risk in RISKS},
        **{f"risk_at_{100 * coverage:g}_coverage": curve.risk_at(coverage) for coverage in COVERAGES},
        "brier": float(brier_score_loss(right, confidence, pos_label=1)),
        "ece_equal_width": expected_calibration_error(confidence, right),
        "ece_equal_mass": expected_calibration_error(confidence, right, equal_mass=True),
    }


def detection(shown: np.ndarray, unseen: np.ndarray) -> dict[str, float]:
    """How well a score tells people who were shown, who should have the higher one, from people who were not.

    The false positive rate is the lowest at which at least 95% of those who were shown are recognised.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    label, score = np.repeat([1, 0], [len(shown), len(unseen)]), np.concatenate([shown, unseen])
    false_rate, true_rate, _ = roc_curve(label, score, drop_intermediate=False)
    return {
        "auroc": float(roc_auc_score(label, score)),
        "fpr_at_95_tpr": float(false_rate[true_rate >= _DETECTED - 1e-12].min()),
    }


def measures_by_cohort(run: Run) -> dict[str, dict[str, float | None]]:
    """Cohort, or mixture -> its measures; empty if the run has not been probed.

    The regret is that about people who were not shown, and None for others. So are the measures that tell people who
    were shown from those of the cohort, by each person's mean confidence.
    """
    answers, shown, unseen = answers_by_cohort(run), run.shown_cohort, run.unseen_cohorts
    by_person = {name: rows.groupby("individual")["confidence"].mean().to_numpy() for name, rows in answers.items()}
    found: dict[str, dict[str, float | None]] = {}
    for name, rows in answers.items():
        found[name] = dict.fromkeys(DECISION_MEANINGS) | decision_measures(rows)
        if name not in unseen:
            found[name]["regret"] = None
        elif shown in by_person:
            found[name] |= detection(by_person[shown], by_person[name])
    return found


def decisions_as_json(run: Run) -> dict[str, Any] | None:
    """The measures by cohort, each also by attribute, as JSON values; None if the run has not been probed."""
    answers, unseen = answers_by_cohort(run), run.unseen_cohorts
    if not answers:
        return None
    found: dict[str, Any] = {}
    for name, measures in measures_by_cohort(run).items():
        by_attribute = {str(one): decision_measures(rows) for one, rows in answers[name].groupby("attribute")}
        for one in by_attribute.values() if name not in unseen else ():
            del one["regret"]
        found[name] = measures | {"by_attribute": by_attribute}
    return found
