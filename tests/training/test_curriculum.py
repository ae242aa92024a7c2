import itertools

import pytest

from moefacts.experiments.tasks.materials import prepare
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.training.checkpoint import load_state
from moefacts.training.evaluation import Evaluator
from moefacts.training.interrupt import Interrupted
from moefacts.training.loop import Trainer
from tests.training.comparing import StopAt, records, same, weights

ACTIVE_LOSS = "eval/active/attribute_loss"

ADAPTIVE = [
    "population.size=8", "sampling.kind=adaptive", "sampling.initial_individuals=2", "sampling.growth=2",
    "training.steps=240", "training.learning_rate=1e-2", "evaluation.interval=4", "evaluation.interval_after_plateau=4",
    "checkpoints.interval=1000",
]  # fmt: skip


@pytest.fixture(scope="module")
def widened_run(tmp_path_factory):
    from tests.conftest import tiny_config

    return execute(tiny_config(*ADAPTIVE, f"run.dir={tmp_path_factory.mktemp('runs')}/widened"))


def evaluations(run):
    return [record for record in records(run) if "eval/seen/attribute_loss" in record]


def widening_steps(run):
    steps = layout.checkpoint_steps(run)
    return load_state(run, steps[-1]).widening_steps


def test_people_are_added_when_and_only_when_the_active_ones_are_under_the_threshold(make_config, widened_run):
    baseline = prepare(make_config(*ADAPTIVE)).batcher.population.no_knowledge_baseline
    logged = evaluations(widened_run)
    active = [int(record["curriculum/active_individuals"]) for record in logged]
    assert set(active) == {2, 4, 8}
    for record, after in zip(logged, [*active[1:], None], strict=True):
        if ACTIVE_LOSS in record and after is not None:
            is_ready = record[ACTIVE_LOSS] < 0.99 * baseline
            assert after == record["curriculum/active_individuals"] * (2 if is_ready else 1)
        assert (ACTIVE_LOSS in record) == (record["curriculum/active_individuals"] < 8)
    key = "curriculum/active_individuals"
    changes = [before["step"] for before, after in itertools.pairwise(logged) if before[key] != after[key]]
    assert widening_steps(widened_run) == changes


def test_only_the_active_people_are_trained_on(make_config, tmp_path, monkeypatch):
    shown = {}
    config = make_config(*ADAPTIVE, f"run.dir={tmp_path}/run")
    training_batch = type(prepare(config).batcher).training_batch

    def spy(self, step, *arguments):
        batch = training_batch(self, step, *arguments)
        shown[step] = set(batch.individual_B.tolist())
        return batch

    monkeypatch.setattr("moefacts.synthetic_data.batches.Batcher.training_batch", spy)
    first, second = widening_steps(execute(config))
    assert set().union(*(shown[step] for step in range(first))) == {0, 1}
    assert set().union(*(shown[step] for step in range(first, second))) == {0, 1, 2, 3}
    assert set().union(*(shown[step] for step in range(second, 240))) == set(range(8))


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_curriculum_resumed_around_its_widening_ends_in_the_same_bits(
    make_config, widened_run, tmp_path, monkeypatch, offset
):
    config = make_config(*ADAPTIVE, f"run.dir={tmp_path}/run")
    stop_step, train = widening_steps(widened_run)[0] + offset, Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self, m, stop, d: train(self, m, StopAt(self, stop_step), d))
    with pytest.raises(Interrupted):
        execute(config)
    monkeypatch.undo()
    execute(config)
    assert records(tmp_path / "run") == records(widened_run)
    assert same(weights(tmp_path / "run"), weights(widened_run))


def test_without_growth_everybody_joins_at_once(make_config, tmp_path):
    settings = [setting for setting in ADAPTIVE if "growth" not in setting]
    run = execute(make_config(*settings, f"run.dir={tmp_path}/run"))
    active = [record["curriculum/active_individuals"] for record in evaluations(run)]
    assert set(active) == {2, 8}
    assert len(widening_steps(run)) == 1


def test_the_active_loss_is_that_of_the_active_people_in_held_out_templates(make_config, widened_run):
    materials = prepare(make_config(*ADAPTIVE))
    evaluator = Evaluator(materials.batcher, "seen", 32, 256, num_people=2)
    expected = evaluator.measure(materials.model).attribute_loss.mean()
    assert evaluations(widened_run)[0][ACTIVE_LOSS] == pytest.approx(float(expected), rel=1e-5)
    assert set(evaluator.plan.individual_B.tolist()) == {0, 1}


def test_uneven_distributions_log_their_buckets_and_uniform_ones_log_nothing_new(make_config, finished_run, tmp_path):
    run = execute(make_config(f"run.dir={tmp_path}/run", "sampling.kind=power_law", "sampling.exponent=1"))
    for record in evaluations(run):
        parts = [record[f"eval/seen/bucket/{bucket}/attribute_loss"] for bucket in ("head", "middle", "tail")]
        assert min(parts) <= record["eval/seen/attribute_loss"] <= max(parts)
    assert not any("bucket" in key or "curriculum" in key for record in records(finished_run) for key in record)
