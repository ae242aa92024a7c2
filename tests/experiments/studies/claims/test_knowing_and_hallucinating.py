"""The claims about hallucination at equal knowledge, in every scenario."""

import numpy as np
import pytest

from moefacts.analysis.figures import draw_study_figures
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.knowing_and_hallucinating import DENSE, LEVELS, STUDY, mean_regret
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run, replicate

ALL = texts(STUDY)


def runs(factor=1.0, leaves=600, scatter=0.0, last=1600):
    """Runs in which regret is proportional to accuracy, ``factor`` times as much in all arms but the dense one."""
    made = []
    for grid_run in STUDY.grids["laptop"]:
        is_dense, number = grid_run.labels["arm"] == DENSE, replicate(grid_run)
        slope = (1 if is_dense else factor + scatter * (-1) ** number) * BASELINE

        def extra(step, slope=slope, early=0 if is_dense else 100):
            accuracy = float(np.clip((step - leaves + early) / 800, 0.01, 1))
            unseen = BASELINE + slope * accuracy
            return {"eval/seen/attribute_accuracy": accuracy, "eval/unseen/attribute_loss": unseen}

        made.append(made_up_run(grid_run, leaves, last=last, extra=extra))
    return made


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(1.5), ALL),
    Case(TOO_SHORT, lambda: runs(last=1000), ALL, "80% of the values"),
    Case(TOO_NOISY, lambda: runs(1.1, scatter=0.4), ALL),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


def test_regret_is_compared_at_equal_knowledge_not_at_equal_steps(tmp_path, quick_figures):
    """All arms but the dense one are 100 steps earlier, and hallucinate more at every step."""
    made = runs()
    assert [mean_regret(run.record) for run in made] == pytest.approx([np.mean(LEVELS)] * len(made), abs=0.01)
    figures = STUDY.examine(made).figures
    assert [one.name for one in draw_study_figures(figures, tmp_path)] == ["regret_of_mixtures", "regret_of_curricula"]
