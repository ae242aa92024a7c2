"""Cases of claims: made-up runs for which some claims of a study have one answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from moefacts.experiments.engine.study import FinishedRun
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS

TOO_SHORT, TOO_NOISY = "training too short", "too noisy or too few"
SCENARIOS = {HOLDS: HOLDS, DOES_NOT_HOLD: DOES_NOT_HOLD, TOO_SHORT: CANNOT_TELL, TOO_NOISY: CANNOT_TELL}


@dataclass(frozen=True)
class Case:
    """Runs for which claims are in one of the ``SCENARIOS``.

    Attributes:
        scenario: the scenario.
        runs: makes the runs up.
        claims: the texts of the claims.
        says: words that every verdict shows.
        scale: the scale whose claims they are.
    """

    scenario: str
    runs: Callable[[], Sequence[FinishedRun]]
    claims: Sequence[str]
    says: str = ""
    scale: str = "laptop"


def parametrized(cases: Sequence[Case]):
    """The decorator of a test with the argument ``case``."""
    ids = [f"{case.scenario.replace(' ', '-')}-{case.scale}-{number}" for number, case in enumerate(cases)]
    return pytest.mark.parametrize("case", cases, ids=ids)


def check(study, case: Case) -> None:
    """Assert that every claim of the case has its answer."""
    evidence = study.examine(case.runs()).evidence
    claims = {claim.text: claim for claim in study.claims[case.scale]}
    assert case.claims
    for text in case.claims:
        verdict = claims[text].decide(evidence)
        assert verdict.answer == SCENARIOS[case.scenario], (text, verdict)
        assert case.says in verdict.here, (text, verdict)
        assert verdict.interval is None or claims[text].unit is not None, f"in what is {text!r} measured?"


def texts(study, scale: str = "laptop") -> list[str]:
    """The texts of all claims of a study, in order."""
    return [claim.text for claim in study.claims[scale]]
