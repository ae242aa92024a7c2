"""Who recomputes intervals of the committed results from their tables with scipy gets the printed numbers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from moefacts.experiments.studies.catalog import STUDIES

RESULTS = Path(__file__).parents[3] / "results" / "laptop"
LOSS, ACCURACY, END = "final_attribute_loss", "final_attribute_accuracy", "plateau_end_interpolated"
# Study, claim -> the numbers that its interval is the Student t interval of, from the table of runs.
RECOMPUTED = {
    ("celebrities", "With a few celebrities, the loss over all people ends lower"): lambda runs: (
        of(runs, "1/16 of the people, ×8", LOSS) - of(runs, "uniform", LOSS)
    ),
    ("celebrities", "A few celebrities end everybody's plateau earlier"): lambda runs: np.log(
        of(runs, "1/16 of the people, ×8", END) / of(runs, "uniform", END)
    ),
    ("templates", "With one template, held-out loss ends higher"): lambda runs: (
        of(runs, "shuffled, 1 template", LOSS) - of(runs, "shuffled, 16 templates", LOSS)
    ),
    ("phases", "After the plateau knowledge emerges"): lambda runs: runs[ACCURACY],
    ("warmup", "At equal steps, a warm-up ends with a lower loss"): lambda runs: (
        of(runs, "1/4 of the people for 8 epochs", LOSS) - of(runs, "uniform", LOSS)
    ),
    ("warmup", "With a warm-up, everybody's plateau ends earlier"): lambda runs: np.log(
        of(runs, "1/4 of the people for 8 epochs", END) / of(runs, "uniform", END)
    ),
    ("power-law", "A mild unevenness shortens the plateau"): lambda runs: np.log(
        np.sqrt(of(runs, 0.6, END) * of(runs, 0.8, END)) / of(runs, 0.0, END)
    ),
    ("adaptive", "Adding people in stages ends with a lower loss than adding them all at once"): lambda runs: (
        of(runs, "adaptive, in stages", LOSS) - of(runs, "adaptive, at once", LOSS)
    ),
    ("distributions", "Zipf ends with a lower loss than uniform sampling"): lambda runs: (
        of(runs, "Zipf", LOSS) - of(runs, "uniform", LOSS)
    ),
    (
        "dense_vs_moe",
        "At equal active parameters a mixture of 32 experts top-1 knows more at the end than a dense model",
    ): (lambda runs: of_kind(runs, "moe_switch", ACCURACY) - of_kind(runs, "dense", ACCURACY)),
    ("toy-memory", "Palit et al.: new facts make the recall of old ones collapse"): lambda runs: of_toy(
        runs, "all ingredients.trough"
    ),
    ("toy-memory", "Palit et al.: normalisation is necessary"): lambda runs: (
        of_toy(runs, "no normalisation.rebound") - 0.5 * of_toy(runs, "all ingredients.rebound")
    ),
    (
        "toy-memory",
        "The study's toy, 128 new pairs: old pairs are forgotten before the new ones are learned",
    ): lambda runs: np.log(of_toy(runs, "128 new pairs.forgetting_step") / of_toy(runs, "128 new pairs.learning_step")),
}


def of(runs, arm, column):
    """A measure of the runs of one arm, by population size and seed."""
    return runs[runs.arm == arm].set_index(["size", "seed"])[column]


def of_kind(runs, kind, column):
    """A measure of the runs of one kind of model, balanced if it is a mixture, by population size and seed."""
    kept = runs[(runs.part == "comparison") & (runs.kind == kind) & (runs.balancing != "unbalanced")]
    return kept.set_index(["size", "seed"])[column]


def of_toy(runs, column):
    """A measure of a toy memory, by seed."""
    return runs.set_index("seed")[column].dropna()


@pytest.mark.parametrize(("study", "claim"), RECOMPUTED)
def test_an_interval_can_be_recomputed_from_the_table_of_runs(study, claim):
    results = json.loads((RESULTS / study / "results.json").read_text())
    (row,) = [row for row in results["claims"] if row["claim"] == claim]
    values = RECOMPUTED[study, claim](pd.read_csv(RESULTS / study / "runs.csv"))
    assert values.index.is_unique
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert (row["value"], *row["interval"]) == pytest.approx((values.mean(), low, high))
    assert f"{values.mean():.3g} [{low:.3g}, {high:.3g}]" in row["here"]
    assert row["p_value"] == pytest.approx(stats.ttest_1samp(values, BOUNDS.get(claim, 0)).pvalue)


BOUNDS = {
    "After the plateau knowledge emerges": 0.5,
    "Palit et al.: new facts make the recall of old ones collapse": 0.5,
}


@pytest.mark.parametrize("study", sorted({study for study, _ in RECOMPUTED}))
def test_committed_results_are_complete_and_of_the_present_claims(study):
    results = json.loads((RESULTS / study / "results.json").read_text())
    assert results["complete"]
    assert [row["claim"] for row in results["claims"]] == [
        claim.text for claim in STUDIES[study.replace("_", "-")].claims["laptop"]
    ]
    assert [row["rule"] for row in results["claims"]] == [
        claim.rule for claim in STUDIES[study.replace("_", "-")].claims["laptop"]
    ]
    seeds = {(run["seed"], run.get("size")) for run in results["runs"]}
    assert len({seed for seed, _ in seeds}) == len(seeds)  # no seed of two sizes
