"""The claims about layers of mixtures, in every scenario."""

from moefacts.analysis.figures import draw_study_figures
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies._kinds import DENSE
from moefacts.experiments.studies.layers import MIXTURES_STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.claims.test_layers import AS_SAID, cases, runs
from tests.experiments.studies.made_up_mechanism import by_attribute, by_neither, by_person, experts_table


def expert_runs(*needed, lost=0.5):
    """Runs whose facts need the expert that each of ``needed`` says, seeds in turn."""
    made = runs(AS_SAID, study=MIXTURES_STUDY)
    for run in made:
        which = needed[run.seed % 100 % len(needed)]
        table = experts_table(which, lost)
        run.record.__dict__["mechanism_experts"] = table[:0] if run.labels["arm"] == DENSE else table
    return made


RATHER, MOSTLY = texts(MIXTURES_STUDY)[10::2], texts(MIXTURES_STUDY)[11::2]
EXPERT_CASES = [
    Case(HOLDS, lambda: expert_runs(by_attribute), [*RATHER, *MOSTLY]),
    Case(DOES_NOT_HOLD, lambda: expert_runs(by_person), RATHER),
    Case(DOES_NOT_HOLD, lambda: expert_runs(by_neither), MOSTLY),
    Case(TOO_SHORT, lambda: expert_runs(by_attribute, lost=0.01), [*RATHER, *MOSTLY], "no fact loses 5%"),
    Case(TOO_NOISY, lambda: expert_runs(by_attribute, by_person), RATHER),
    Case(TOO_NOISY, lambda: expert_runs(by_attribute, by_neither), MOSTLY),
]
CASES = [*cases(MIXTURES_STUDY, texts(MIXTURES_STUDY)[:10]), *EXPERT_CASES]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(MIXTURES_STUDY, case)


def test_what_experts_hold_has_a_table_and_a_figure_for_each_mixture(tmp_path, quick_figures):
    findings = MIXTURES_STUDY.examine(expert_runs(by_attribute))
    tables = [table for table in findings.tables if table.title.startswith("What single experts hold")]
    assert len(tables) == 2
    assert tables[0].rows[0][1:5] == ["8 ± 0%", "100 ± 0%", "0 ± 0%", "0 ± 0%"]
    names = {drawing.name for drawing in draw_study_figures(findings.figures, tmp_path)}
    assert sum(name.startswith("experts_") for name in names) == 2
