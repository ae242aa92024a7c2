"""A run takes settings from finished runs, such as the best of several. Training is stood in for."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.errors import UserError
from moefacts.experiments.engine.estimates import Estimate
from moefacts.experiments.engine.grid import TO_DO, UNDECIDABLE, UNDECIDED, make_plan
from moefacts.experiments.engine.launch import launch_runs, runs_to_launch
from moefacts.experiments.engine.results import read_finished
from moefacts.experiments.engine.study import BestOf, GridRun
from moefacts.experiments.studies import catalog
from moefacts.runs import layout
from moefacts.runs.location import run_directory
from moefacts.runs.manifest import FAILED, FINISHED, INTERRUPTED, read_manifest
from moefacts.training.interrupt import Interrupted
from tests.experiments.engine.run_folders import study_of, write_run
from tests.experiments.engine.tiny_study import TINY_RUN

RATES = ("1e-3", "2e-3", "4e-3")


def candidates(size):
    return tuple(
        GridRun(
            (f"population.size={size}", "seed=9", f"training.learning_rate={rate}"),
            labels={"part": "choice", "size": size},
        )
        for rate in RATES
    )


BEST_RATE = BestOf(("training.learning_rate",))


def law(size):
    return [
        GridRun(
            (f"population.size={size}", f"seed={seed}"),
            50,
            {"part": "law", "size": size},
            candidates(size),
            BEST_RATE,
        )
        for seed in (0, 1)
    ]


STUDY = study_of(*candidates(64), *candidates(128), *law(64), *law(128))


class Trainer:
    """Stands in for training. Runs of ``losses[size][rate]`` end with that loss; those of ``failing`` fail."""

    def __init__(self):
        self.losses = {64: (3.0, 1.0, 2.0), 128: (1.0, 2.0, 3.0)}
        self.failing, self.stop_after, self.trained = (), None, []

    def __call__(self, config):
        size, rate, seed = config.population.size, config.training.learning_rate, config.seed
        if len(self.trained) == self.stop_after:
            write_run(run_directory(config), config, INTERRUPTED)
            raise Interrupted(2, None)
        self.trained.append((size, rate, seed))
        if (size, rate, seed) in self.failing:
            raise ValueError("diverged")
        path = run_directory(config)
        write_run(path, config)
        if seed == 9:
            loss = self.losses[size][[float(one) for one in RATES].index(rate)]
            records = [{"step": step, "train/loss": loss, "train/attribute_loss": loss} for step in range(91, 291)]
            with open(path / layout.METRICS, "a") as file:
                file.write("".join(json.dumps(record) + "\n" for record in records))
        return path


@pytest.fixture
def trainer(monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr("moefacts.experiments.tasks.train.execute", trainer)
    return trainer


def plan_in(out, *overrides):
    return make_plan(STUDY, "laptop", overrides, out / "out", out)  # nothing lies beside it


def launched(plan, retry_failed=False, at_a_time=None):
    """The plan after all runs were launched; every wave of runs is appended to ``at_a_time``."""
    pairs = [(run, 1.0) for run in runs_to_launch(plan, retry_failed)]

    def launch(indices, task):
        if at_a_time is not None:
            at_a_time.append(len(indices))
        for index in indices:
            task(index)

    return launch_runs(plan, Estimate(pairs, pairs, 1, []), launch, longest_first=False)


def law_rates(plan):
    """(size, seed) -> the rate of every run of the law whose settings are known."""
    return {
        (run.config.population.size, run.config.seed): run.config.training.learning_rate
        for run in plan.runs
        if run.grid_run.settings_from and run.state not in (UNDECIDED, UNDECIDABLE)
    }


def test_before_anything_ran_the_runs_that_wait_for_a_choice_are_undecided_and_have_a_place_of_their_own(
    trainer, tmp_path
):
    plan = plan_in(tmp_path)
    assert [run.state for run in plan.runs] == [TO_DO] * 6 + [UNDECIDED] * 4
    assert len(plan.distinct()) == 10
    assert len(runs_to_launch(plan, retry_failed=False)) == 10  # they count in the estimate
    undecided = plan.distinct(UNDECIDED)
    assert [run.expected_steps for run in undecided] == [50] * 4
    assert [len(run.needs) for run in undecided] == [3] * 4
    assert plan.refreshed() == plan


def test_all_runs_of_a_size_take_the_rate_of_the_lowest_final_training_loss(trainer, tmp_path):
    waves = []
    plan = launched(plan_in(tmp_path), at_a_time=waves)
    assert {run.state for run in plan.runs} == {FINISHED}
    assert law_rates(plan) == {(64, 0): 2e-3, (64, 1): 2e-3, (128, 0): 1e-3, (128, 1): 1e-3}
    assert waves == [6, 4]
    assert len(trainer.trained) == 10
    assert {path.name for path in plan.out.iterdir() if path.name.endswith(UNDECIDED)} == set()
    again = plan_in(tmp_path)
    assert again == plan
    assert launched(again) == plan
    assert len(trainer.trained) == 10


def test_of_equal_losses_the_first_gives_its_settings(trainer, tmp_path):
    trainer.losses = {64: (2.0, 1.0, 1.0), 128: (1.0, 1.0, 1.0)}
    assert law_rates(launched(plan_in(tmp_path))) == {(64, 0): 2e-3, (64, 1): 2e-3, (128, 0): 1e-3, (128, 1): 1e-3}


@pytest.mark.parametrize("stop_after", [2, 5, 7])
def test_a_choice_that_was_interrupted_half_way_goes_on_and_ends_the_same(trainer, tmp_path, stop_after):
    trainer.stop_after = stop_after
    with pytest.raises(Interrupted):
        launched(plan_in(tmp_path))
    trainer.stop_after = None
    half = plan_in(tmp_path)
    assert len(half.distinct(UNDECIDED)) == (4 if stop_after < 3 else 2 if stop_after < 6 else 0)
    plan = launched(half)
    assert law_rates(plan) == {(64, 0): 2e-3, (64, 1): 2e-3, (128, 0): 1e-3, (128, 1): 1e-3}
    assert {run.state for run in plan.runs} == {FINISHED}
    assert sorted(set(trainer.trained)) == sorted(trainer.trained)  # nothing was trained twice


def test_while_a_run_that_chooses_is_missing_its_size_stays_undecided_and_the_results_say_why(trainer, tmp_path):
    trainer.failing = ((64, 4e-3, 9),)
    plan = launched(plan_in(tmp_path))
    assert law_rates(plan) == {(128, 0): 1e-3, (128, 1): 1e-3}
    finished, missing = read_finished(plan)
    assert len(finished) == 5 + 2
    (failed,) = (run["run"] for run in missing if run["state"] == FAILED)
    waiting = [run["state"] for run in missing if run["state"] != FAILED]
    assert waiting == [f"{UNDECIDED} for part law, size 64; it needs {failed} first"] * 2
    trainer.failing = ()
    plan = launched(plan, retry_failed=True)
    assert law_rates(plan)[64, 0] == 2e-3
    assert {run.state for run in plan.runs} == {FINISHED}


def test_a_damaged_run_chooses_nothing(trainer, tmp_path):
    plan = launched(plan_in(tmp_path))
    broken = next(run for run in plan.runs if run.config.population.size == 64 and run.config.seed == 9)
    (broken.path / layout.METRICS).write_text("nonsense\n")
    assert law_rates(plan_in(tmp_path)).keys() == {(128, 0), (128, 1)}
    undecidable = launched(plan_in(tmp_path)).distinct(UNDECIDABLE)
    assert len(undecidable) == 2
    assert all(layout.METRICS in run.reason for run in undecidable)


def half_as_many_steps(runs):
    (reference,) = runs
    if reference.seed == 3:
        raise UserError("the reference has no plateau end")
    return (f"training.steps={reference.settings.training.steps // 2}",)


def test_settings_may_be_any_function_of_the_runs_that_are_needed_and_where_there_are_none_the_results_say_why(
    trainer, tmp_path
):
    first = [GridRun(("training.steps=90", f"seed={seed}"), labels={"arm": "own"}) for seed in (2, 3)]
    half = [GridRun((one.overrides[1],), 50, {"arm": "half"}, (one,), half_as_many_steps) for one in first]
    plan = make_plan(study_of(*first, *half), "laptop", (), tmp_path / "out", tmp_path)
    assert [run.state for run in plan.runs] == [TO_DO] * 2 + [UNDECIDED] * 2
    plan = launched(plan)
    assert [run.state for run in plan.runs] == [FINISHED] * 3 + [UNDECIDABLE]
    assert plan.runs[2].config.training.steps == 45
    assert runs_to_launch(plan, retry_failed=True) == []
    assert plan.refreshed() == plan
    _, (missing,) = read_finished(plan)
    assert missing["state"] == "cannot be decided for arm half: the reference has no plateau end"


def test_a_run_of_the_law_that_failed_is_not_tried_again_in_the_same_session(trainer, tmp_path):
    trainer.failing = ((64, 2e-3, 0),)
    plan = launched(plan_in(tmp_path))
    assert len(trainer.trained) == 10
    (failed,) = plan.distinct(FAILED)
    assert read_manifest(failed.path)["state"] == FAILED


def test_a_run_that_has_the_chosen_settings_already_is_the_same_run(trainer, tmp_path):
    """At one size the best rate is that of a run at a fixed rate in the same grid."""
    fixed = GridRun(("population.size=64", "seed=0", "training.learning_rate=2e-3"), labels={"part": "fixed"})
    study = study_of(fixed, *law(64))
    plan = launched(make_plan(study, "laptop", [], tmp_path / "out", tmp_path))
    assert [run.state for run in plan.runs] == [FINISHED] * 3
    assert plan.runs[0].path == plan.runs[1].path
    assert len(trainer.trained) == 3 + 2


def test_what_a_user_may_override_does_not_include_what_is_chosen(trainer, tmp_path):
    with pytest.raises(UserError, match=r"varies training\.learning_rate itself"):
        plan_in(tmp_path, "training.learning_rate=1e-3")
    plan = plan_in(tmp_path, "threads=2")
    assert {run.config.threads for run in plan.distinct()} == {2}


def test_a_dry_run_says_the_time_of_the_choice_apart(monkeypatch, tmp_path):
    """With real runs and trials, at a tiny size."""
    tried = [(*TINY_RUN, f"training.learning_rate={rate}") for rate in RATES]
    of = tuple(GridRun(overrides, labels={"part": "choice of rates"}) for overrides in tried)
    law = GridRun((*TINY_RUN, "seed=1"), labels={"part": "law"}, needs=of, settings_from=BEST_RATE)
    tiny = study_of(*of, law, name="t")
    monkeypatch.setattr(catalog, "STUDIES", {"t": tiny})
    arguments = ["reproduce", "t", "--launcher", "basic", "--out", str(tmp_path / "t")]
    dry = CliRunner().invoke(cli.app, [*arguments, "--dry-run"])
    assert dry.exit_code == 0, (dry.output, dry.exception)
    assert "to train: 4 runs" in dry.output
    assert "of these, choice of rates: 3 runs, about 0:" in dry.output
    assert "of these, law: 1 runs, about 0:" in dry.output
    assert UNDECIDED in dry.output
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads((Path(tmp_path) / "t" / "results.json").read_text())
    assert found["complete"]
    assert len(found["runs"]) == 4


def test_undecided_runs_that_differ_only_in_what_they_need_are_two_runs(tmp_path):
    first, second = candidates(64)[:2]
    law = [GridRun(("population.size=64",), 50, {}, (needed,), BEST_RATE) for needed in (first, second)]
    plan = make_plan(study_of(*law), "laptop", (), tmp_path / "runs" / "s", tmp_path / "runs")
    assert [run.grid_run.needs for run in plan.distinct(UNDECIDED)] == [(first,), (second,)]
