"""The claims about layers of mixtures, in every scenario."""

from moefacts.experiments.studies.layers import MIXTURES_STUDY
from tests.experiments.studies.claims.cases import check, parametrized
from tests.experiments.studies.claims.test_layers import cases

CASES = cases(MIXTURES_STUDY)


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(MIXTURES_STUDY, case)
