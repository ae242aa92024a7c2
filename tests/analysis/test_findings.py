"""The report's sentences agree with its numbers."""

import pytest

from moefacts.analysis.groups import Group
from moefacts.analysis.report import _findings
from moefacts.analysis.summary import summarize_group
from moefacts.config.presets import compose
from tests.analysis import test_measures
from tests.conftest import TINY


@pytest.mark.parametrize(
    ("unseen", "said", "number"),
    [
        ((9.0, 5.2, 6.0), "left it for good: the model hallucinates", "1.2"),
        ((9.0, 8.0, 7.0), "never came near the baseline, so these runs do not say", "1.4"),
        ((9.0, 5.2, 5.1), "near it: the model guesses and does not hallucinate", "1.02"),
    ],
)
def test_a_loss_above_the_baseline_is_hallucination_only_after_it_was_near(monkeypatch, unseen, said, number):
    monkeypatch.setattr(test_measures, "UNSEEN_LOSS", unseen)
    group = Group("", [test_measures.made_up(compose(TINY))])
    (sentence,) = [one for one in _findings(group, summarize_group(group), None) if "never saw" in one]
    assert said in sentence
    assert f"{number} times the baseline" in sentence
