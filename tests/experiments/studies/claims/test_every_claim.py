"""Every claim of every study has made-up runs for each scenario, or a reason why one is impossible."""

from importlib import import_module

import pytest

from moefacts.experiments.studies.catalog import STUDIES
from tests.experiments.studies.claims.cases import SCENARIOS, texts


@pytest.mark.parametrize("name", STUDIES)
def test_every_claim_is_tried_in_every_scenario_that_is_possible(name):
    module = import_module(f"tests.experiments.studies.claims.test_{name.replace('-', '_')}")
    cases = module.CASES if isinstance(module.CASES, list) else module.CASES[name]
    impossible = module.IMPOSSIBLE if hasattr(module, "IMPOSSIBLE") else {}
    tried = {(text, case.scenario) for case in cases for text in case.claims}
    wanted = {(text, scenario) for scale in STUDIES[name].claims for text in texts(STUDIES[name], scale) for scenario in SCENARIOS}  # fmt: skip
    assert tried | impossible.keys() == wanted
    assert not tried & impossible.keys()
    assert all(impossible.values())
