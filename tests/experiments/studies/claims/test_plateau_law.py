"""The claims about the plateau law, in every scenario."""

from moefacts.experiments.studies.plateau_law.plateau_law import STUDY
from tests.experiments.studies.claims.cases import check, parametrized
from tests.experiments.studies.claims.plateau_laws import cases

CASES = cases(STUDY)


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
