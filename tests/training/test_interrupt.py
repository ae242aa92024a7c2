"""A signal is honoured between two batches of an evaluation, and the run still ends in the same bits."""

import json
import os
import signal

import pytest

from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest
from moefacts.training.checkpoint import STATE
from moefacts.training.interrupt import STOP_SIGNALS, Interrupted, StopRequest
from moefacts.training.loop import Trainer
from tests.training.comparing import records, same, weights

SMALL_BATCHES = "evaluation.batch_size=8"  # an evaluation has eight of them


class StopAfterForwards:
    """Acts like a signal that arrives in the evaluation of ``step``, after so many applications of the model."""

    def __init__(self, trainer, step, forwards):
        self.trainer, self.step, self.forwards, self.asked = trainer, step, forwards, 0

    @property
    def signal_number(self):
        if self.trainer.state.step == self.step:
            self.asked += 1
        return 10 if self.asked > self.forwards else None


def state_of(run, step):
    """The state of the loop in a checkpoint, without how long it took."""
    state = json.loads((layout.checkpoint_folder(run, step) / STATE).read_text())
    return {key: value for key, value in state.items() if key != "wall_seconds"}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    from tests.conftest import tiny_config

    return execute(tiny_config(SMALL_BATCHES, f"run.dir={tmp_path_factory.mktemp('whole')}/run"))


@pytest.mark.parametrize(("step", "forwards"), [(0, 0), (8, 1), (8, 6), (12, 5)])
def test_an_evaluation_that_was_cut_short_is_made_again(make_config, whole_run, tmp_path, monkeypatch, step, forwards):
    config = make_config(SMALL_BATCHES, f"run.dir={tmp_path}/run")
    train, run = Trainer.train, tmp_path / "run"
    stops = []

    def stopped(self, mirror, _, display):
        stops.append(StopAfterForwards(self, step, forwards))
        train(self, mirror, stops[0], display)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", stopped)
        with pytest.raises(Interrupted):
            execute(config)
    assert stops[0].asked <= forwards + 3  # no further batch was evaluated
    assert layout.checkpoint_steps(run)[-1] == step
    assert [r["step"] for r in records(run)] == [r["step"] for r in records(whole_run) if r["step"] < step]
    execute(config)
    assert records(run) == records(whole_run)
    assert same(weights(run), weights(whole_run))
    for kept in layout.checkpoint_steps(whole_run):
        assert state_of(run, kept) == state_of(whole_run, kept)


def test_the_last_measurements_can_be_interrupted_too(make_config, whole_run, tmp_path, monkeypatch):
    """The confidence probe comes after training, and is as long as an evaluation."""
    config = make_config(SMALL_BATCHES, f"run.dir={tmp_path}/run")
    with monkeypatch.context() as patch:
        patch.setattr(
            "moefacts.experiments.tasks.train.confidence_table",
            lambda moment, evaluators: (
                os.kill(os.getpid(), signal.SIGUSR1) or [*map(moment.measure, evaluators.values())]
            ),
        )
        with pytest.raises(Interrupted):
            execute(config)
    assert read_manifest(tmp_path / "run")["state"] == "interrupted"
    execute(config)
    assert records(tmp_path / "run") == records(whole_run)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_signal_of_a_scheduler_is_a_request(number):
    with StopRequest() as stop:
        os.kill(os.getpid(), number)
        assert stop.signal_number == number


def test_a_handler_of_another_library_stays():
    """Submitit handles SIGUSR2 itself: it puts the job into the queue again."""
    before = signal.signal(signal.SIGUSR2, foreign := lambda *_: None)
    try:
        with StopRequest():
            assert signal.getsignal(signal.SIGUSR2) is foreign
    finally:
        signal.signal(signal.SIGUSR2, before)
