"""The report's sentences agree with its numbers."""

import pytest

from moefacts.analysis.groups import Group
from moefacts.analysis.report import _findings, _when_sentences
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


@pytest.mark.parametrize(
    ("losses", "seeds", "said"),
    [
        ((9.0, 5.2, 5.1, 4.1, 2.0, 1.0), 1, "ended between steps 200 and 300; where exactly could not be determined"),
        ((9.0, 5.2, 5.1, 5.05, 5.0, 4.94), 1, "whether and where it ended could not be determined"),
        ((9.0, 5.2, 5.1, 4.1, 2.0, 1.0), 2, "its end could not be determined in 2 of 2 runs"),
        ((9.0, 5.2, 5.1, 5.1, 5.1, 5.1), 1, "did not end in this run"),
    ],
)
def test_a_page_names_an_end_of_the_plateau_only_where_it_does_not_say_that_it_cannot_be_told(
    monkeypatch, losses, seeds, said
):
    monkeypatch.setattr(test_measures, "SEEN_LOSS", losses)
    settings = compose([*TINY, "evaluation.plateau_threshold=0.99"])
    group = Group("", [test_measures.made_up(settings, seed=seed) for seed in range(seeds)])
    summary = summarize_group(group)
    (lead, *_), (warning, *_) = _findings(group, summary, None), _when_sentences(group, summary, None)
    assert said in lead
    assert "lasted" not in lead
    assert bool(warning) == ("could not be determined" in lead)


def test_a_page_names_the_end_of_a_plateau_that_can_be_told(monkeypatch):
    monkeypatch.setattr(test_measures, "SEEN_LOSS", (9.0, 5.2, 5.1, 5.1, 5.1, 1.0))
    group = Group("", [test_measures.made_up(compose([*TINY, "evaluation.plateau_threshold=0.99"]))])
    summary = summarize_group(group)
    assert "The plateau lasted from step 92 to step 404." in _findings(group, summary, None)
    assert _when_sentences(group, summary, None)[0] == ""
