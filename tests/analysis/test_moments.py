"""What captions say of the moments at which a run was looked at."""

import pytest

from moefacts.analysis.mechanism_arcs import arcs_caption
from moefacts.analysis.moments import END, FIRST, LAST, START, in_words, moments, names_of
from moefacts.experiments.studies.layers import STUDY
from tests.analysis.fine_tuned import fine_tuned
from tests.experiments.studies.made_up import made_up_run


def run_with(leaves=400.0, **given):
    return made_up_run(STUDY.grids["laptop"][0], leaves, **given).record


def test_moments_with_a_checkpoint_each_are_told_apart():
    run = run_with()
    steps = [0, 60, 400, 500]
    assert moments(run, steps) == {START: 60, END: 400, LAST: 500}
    assert (
        in_words(run, steps)
        == "the plateau's start (step 60), the plateau's end (step 400) and the last checkpoint (step 500)"
    )
    assert names_of(run, steps) == {60: START, 400: END, 500: LAST}


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([0, 300, 700], "the plateau's start (step 0), the plateau's end (step 300) and the last checkpoint (step 700)"),
        ([0, 190, 900], "the plateau's start (step 0), the plateau's end (step 190) and the last checkpoint (step 900)"),
        ([200, 900], "the plateau's start and end (both at step 200) and the last checkpoint (step 900). Checkpoints are too sparse"),
        ([0, 480], "the plateau's start (step 0), and the plateau's end and the last checkpoint (both at step 480). Checkpoints"),
        ([900], "the plateau's start and end and the last checkpoint (all at step 900). Checkpoints"),
    ],
)  # fmt: skip
def test_moments_that_share_a_checkpoint_are_named_together(steps, said):
    assert in_words(run_with(), steps).startswith(said)


def test_the_setting_that_is_named_separates_them():
    run = run_with()
    said = in_words(run, [200, 900])
    interval = int(said.split("checkpoints.interval=")[1].split()[0])
    nearest = moments(run, [*range(0, 901, interval)])
    assert len(set(nearest.values())) == 3


def test_without_a_plateau_there_is_no_word_of_one():
    without = run_with(leaves=4000.0, start=3000, last=700)
    assert in_words(without, [0, 300, 700]) == "the last checkpoint (step 700)"
    unended = run_with(leaves=4000.0, last=700)
    assert in_words(unended, [0, 60, 700]) == "the plateau's start (step 60) and the last checkpoint (step 700)"
    tuned = fine_tuned([0, 100, 200], [0.1, 0.5, 0.9])
    assert moments(tuned, [0, 100, 200]) == {FIRST: 0, LAST: 200}
    assert in_words(tuned, [0]) == "the first checkpoint and the last checkpoint (both at step 0)"


def test_the_caption_of_arcs_says_which_moments_they_are(finished_run):
    from moefacts.experiments.tasks.probe import probe_run
    from moefacts.runs.reader import read_run

    probe_run(read_run(finished_run), "mechanism")
    run = read_run(finished_run)
    steps = sorted(run.mechanism_sentence["step"].unique())
    assert arcs_caption(run).endswith(f"nearest to {in_words(run, steps)}.")
    assert ("plateau" in arcs_caption(run)) == (START in moments(run, steps))
