"""Plans: which runs a study has, with which settings, where, and how far they are. Nothing is trained."""

from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from moefacts.config.presets import compose
from moefacts.errors import UserError
from moefacts.experiments.engine.grid import (
    ELSEWHERE,
    HALF_DONE,
    TO_DO,
    default_folder,
    default_name,
    make_plan,
    run_state,
)
from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies.catalog import find_studies
from moefacts.runs import layout
from moefacts.runs.location import run_directory
from moefacts.runs.manifest import FAILED, FINISHED, INTERRUPTED, RUNNING
from tests.experiments.engine.run_folders import plan_of, planned, study_of, write_manifest


def test_a_run_that_may_stop_early_is_expected_to_take_no_more_steps_than_it_may(tmp_path):
    steps = [
        planned(tmp_path, "training.steps=50", expected_steps=expected).expected_steps for expected in (None, 20, 80)
    ]
    assert steps == [50, 20, 50]


def test_logs_are_kept_beside_the_runs(tmp_path):
    assert planned(tmp_path / "run").log == tmp_path / "logs" / "run.log"


def test_runs_that_share_a_directory_are_listed_once_and_what_is_needed_comes_first(tmp_path):
    first, second = (planned(tmp_path / name, state=state) for name, state in (("a", FINISHED), ("b", TO_DO)))
    needed = planned(tmp_path / "needed", state=FAILED)
    plan = plan_of(first, second, first, out=tmp_path, prerequisites=(needed,))
    assert plan.distinct() == [needed, first, second]
    assert plan.distinct(FINISHED) == [first]
    assert plan.distinct(TO_DO, FAILED) == [needed, second]
    assert plan.distinct(HALF_DONE) == []


def test_runs_are_told_apart_by_the_labels_in_which_they_differ(tmp_path):
    places = (("a", {"size": 8, "arm": "x", "all": 1}), ("b", {"size": 8, "arm": "y", "all": 1, "model": object()}))
    plan = plan_of(*(planned(tmp_path / name, labels=labels) for name, labels in places), out=tmp_path)
    assert plan.varied_labels() == {tmp_path / "a": "arm x", tmp_path / "b": "arm y"}


def test_a_run_at_several_places_of_the_grid_has_the_labels_of_all_of_them(tmp_path):
    places = [("a", 8, 0.5), ("b", 16, 0.5), ("a", 16, 1.5), ("a", 8, 0.5)]
    runs = [planned(tmp_path / name, labels={"size": size, "rate": rate}) for name, size, rate in places]
    labels = plan_of(*runs, out=tmp_path).varied_labels()
    assert labels == {tmp_path / "a": "size 8, rate 0.5; size 16, rate 1.5", tmp_path / "b": "size 16, rate 0.5"}


def test_refreshed_plans_say_what_is_on_the_disk_now(tmp_path):
    run, needed = planned(tmp_path / "run", state=FINISHED), planned(tmp_path / "needed")
    (tmp_path / "needed").mkdir()
    write_manifest(tmp_path / "needed", state=FINISHED)
    plan = plan_of(run, out=tmp_path, prerequisites=(needed,), overrides=("a=b",))
    fresh = plan.refreshed()
    assert ([run.state for run in fresh.runs], [run.state for run in fresh.prerequisites]) == ([TO_DO], [FINISHED])
    assert (fresh.study, fresh.scale, fresh.overrides, fresh.out) == (plan.study, plan.scale, plan.overrides, plan.out)


@pytest.mark.parametrize(
    ("manifest", "state"),
    [({"state": FINISHED}, FINISHED), ({"state": FAILED}, FAILED), ({"state": INTERRUPTED}, HALF_DONE),
     ({"state": RUNNING}, HALF_DONE), ({"state": "made up"}, FAILED), ({}, FAILED)],
)  # fmt: skip
def test_the_state_of_a_run_that_no_process_holds(tmp_path, manifest, state):
    write_manifest(tmp_path, **manifest)
    assert run_state(tmp_path) == state


def test_a_run_that_another_process_holds_is_running_elsewhere(tmp_path):
    write_manifest(tmp_path, state=RUNNING)
    with FileLock(tmp_path / layout.LOCK):
        assert run_state(tmp_path) == ELSEWHERE
    assert run_state(tmp_path / "nowhere") == TO_DO


def test_every_run_has_the_settings_of_scale_study_and_user_and_its_place(tmp_path):
    """The user's overrides come after the study's, and the scale before both."""
    common = "training.learning_rate=1e-4"
    study = study_of(GridRun(("seed=1", common)), GridRun(("seed=2", common), labels={"second": True}))
    plan = make_plan(study, "paper", ["training.learning_rate=2e-4", "threads=3"], tmp_path / "out", tmp_path)
    assert (plan.study, plan.scale, plan.out) == (study, "paper", tmp_path / "out")
    assert plan.overrides == ("training.learning_rate=2e-4", "threads=3")
    assert [run.grid_run for run in plan.runs] == list(study.grids["paper"])
    paper = compose(["scale=paper"])
    for run, seed in zip(plan.runs, (1, 2), strict=True):
        config = run.config
        assert (config.seed, config.training.learning_rate, config.threads) == (seed, 2e-4, 3)
        assert (config.scale, config.population) == ("paper", paper.population)
        assert run.path == run_directory(config)
        assert (run.path.parent, run.state, run.needs) == (tmp_path / "out", TO_DO, ())


def test_what_a_run_needs_is_planned_before_it_with_the_users_settings(tmp_path):
    """The run needs one that needs another. All get what the user said, and none is at a place of the grid."""
    last = GridRun(("seed=3",), needs=(GridRun(("seed=2",), needs=(GridRun(("seed=1",)),)),))
    plan = make_plan(study_of(last), "laptop", ["training.steps=9"], tmp_path / "out", tmp_path)
    (run,), needed = plan.runs, plan.prerequisites
    assert sorted(one.config.seed for one in needed) == [1, 2]
    by_seed = {one.config.seed: one for one in (run, *needed)}
    assert [by_seed[seed].needs for seed in (1, 2, 3)] == [(), (by_seed[1].path,), (by_seed[2].path,)]
    assert {one.config.training.steps for one in by_seed.values()} == {9}
    assert {one.path.parent for one in by_seed.values()} == {tmp_path / "out"}


def test_states_are_those_on_the_disk(tmp_path):
    study = study_of(GridRun(("seed=1",), needs=(GridRun(("seed=0",)),)), GridRun(("seed=2",)))
    first = make_plan(study, "laptop", [], tmp_path / "out", tmp_path)
    for run in (first.runs[0], first.prerequisites[0]):
        run.path.mkdir(parents=True)
        write_manifest(run.path, state=INTERRUPTED)
    plan = make_plan(study, "laptop", [], tmp_path / "out", tmp_path)
    assert [run.state for run in (*plan.prerequisites, *plan.runs)] == [HALF_DONE, HALF_DONE, TO_DO]


def test_without_a_folder_a_study_has_its_own_in_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(study_of(GridRun(())), "laptop", ["training.steps=5"], None, Path("runs"))
    assert plan.out == Path("runs/made-up-steps=5")  # relative, so that the folder around it can be moved
    assert plan.runs[0].path.parent == plan.out
    elsewhere = tmp_path / "a" / ".." / "b"
    assert make_plan(study_of(GridRun(())), "laptop", [], None, elsewhere).out == Path("b/made-up")
    monkeypatch.chdir("/")
    plan = make_plan(study_of(GridRun(())), "laptop", [], None, tmp_path)
    assert Path("/", plan.out) == tmp_path / "made-up"


def test_a_folder_that_is_not_below_the_working_directory_is_named_in_full(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert make_plan(study_of(GridRun(())), "laptop", [], Path("../out"), tmp_path).out == tmp_path / "out"


def test_a_folder_that_exists_is_used_and_a_file_is_refused(tmp_path):
    assert make_plan(study_of(GridRun(())), "laptop", [], tmp_path, tmp_path).out == tmp_path
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        make_plan(study_of(GridRun(())), "laptop", [], tmp_path / "file", tmp_path)


@pytest.mark.parametrize("name", ["it's", r"back\slash", r"slash\'quote", "ends\\", "a,b=c d", "{x: [y]}", "ü"])
def test_runs_are_where_the_results_are_whatever_the_folder_is_called(tmp_path, name):
    out = tmp_path / name / name
    plan = make_plan(study_of(GridRun(())), "laptop", [], out, tmp_path)
    assert plan.runs[0].path.parent == plan.out == out


def test_the_name_of_a_folder_says_study_scale_and_overrides():
    study = study_of()
    assert default_name(study, "laptop", []) == "made-up"
    assert default_name(study, "paper", []) == "made-up-paper"
    overrides = ["model=moe_a", "model.moe.num_experts=4", "training.learning_rate=1e-3", "evaluation.cohorts=[seen]"]
    name = "made-up-moe_a-num_experts=4-learning_rate=1e-3-evaluation.cohorts=[seen]"
    assert default_name(study, "laptop", overrides) == name


def test_a_renamed_study_is_kept_where_it_was_begun(tmp_path):
    study = replace(study_of(GridRun(())), former_name="made_up")

    def folder(overrides=()):
        return make_plan(study, "laptop", overrides, None, tmp_path).out.name

    assert folder() == "made-up"
    (tmp_path / "made_up").mkdir()
    assert folder() == "made_up"
    assert folder(["training.steps=9"]) == "made-up-steps=9"
    (tmp_path / "made_up-steps=9").mkdir()
    assert folder(["training.steps=9"]) == "made_up-steps=9"
    (tmp_path / "made-up").mkdir()
    assert folder() == "made-up"


@pytest.mark.parametrize("name", ["dense_vs_moe", "dense_vs_moe-lr"])
def test_the_runs_of_dense_vs_moe_are_found_under_its_former_name(tmp_path, name):
    (study,) = find_studies(name, "laptop")
    assert study.name == name.replace("_", "-")
    assert default_folder(study, "laptop", [], tmp_path) == tmp_path / study.name
    (tmp_path / name).mkdir()
    assert default_folder(study, "laptop", [], tmp_path) == tmp_path / name


def test_settings_with_the_same_last_part_have_different_folders():
    names = [default_name(study_of(), "laptop", [f"{key}.interval=10"]) for key in ("evaluation", "checkpoints")]
    assert names == ["made-up-evaluation.interval=10", "made-up-checkpoints.interval=10"]


@pytest.mark.parametrize(
    ("left", "right"),
    [(["run.x=1-b=2"], ["run.x=1", "b=2"]), (["model=a/b"], ["model=a_b"]), (["a=1=2"], ["a=1-2"])],
    ids=str,
)
def test_different_overrides_have_different_folders(left, right):
    """Even where a value looks like another override, or holds what no name of a folder can."""
    names = {default_name(study_of(), "laptop", overrides) for overrides in (left, right)}
    assert len(names) == 2
    assert not any("/" in name for name in names)


def test_long_names_are_cut_and_yet_differ():
    longest = "x=" + "y" * (120 - len("made-up-x="))
    assert default_name(study_of(), "laptop", [longest]) == f"made-up-{longest}"
    cut = [default_name(study_of(), "laptop", [longest + end]) for end in ("y", "z", "y")]
    assert all(name.startswith(f"made-up-{longest}-") and len(name) == 129 for name in cut)
    assert cut[0] == cut[2] != cut[1]


def test_a_folder_whose_name_no_file_system_takes_is_refused(tmp_path):
    assert len(default_name(study_of(), "laptop", ["x=" + "é" * 200]).encode()) <= 255
    with pytest.raises(UserError, match=r"--out .* is too long"):
        make_plan(study_of(GridRun(())), "laptop", [], tmp_path / ("é" * 200), tmp_path)


VARYING = study_of(
    *(GridRun(("training.steps=5", f"population.size={size}", "seed=0"), needs=(GridRun(("training.steps=5", "seed=9")),))
      for size in (8, 16))
)  # fmt: skip


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("population.size=3", "varies population.size itself; leave out population.size=3"),
        ("+population.size=3", "varies population.size itself"),
        ("~population.size", "varies population.size itself"),
        ("population={size:3}", r"varies population.size itself; leave out population=\{size:3\}"),
        ("seed=3", "varies seed itself"),  # what is needed has another seed
        ("--jbos", "no option --jbos"),
        ("scale=paper", "use --scale instead"),
        ("run.study=x", "use --out instead"),
        ("run={dir:x}", "use --out instead"),
    ],
)
def test_what_the_study_varies_or_an_option_sets_is_no_override(tmp_path, override, answer):
    with pytest.raises(UserError, match=answer):
        make_plan(VARYING, "laptop", ["threads=1", override], tmp_path, tmp_path)


def test_what_all_runs_have_in_common_can_be_overridden(tmp_path):
    overrides = ["training.steps=7", "population.unseen=99", "model=moe_laptop", "threads=2"]
    plan = make_plan(VARYING, "laptop", overrides, tmp_path, tmp_path)
    assert {run.config.training.steps for run in plan.distinct()} == {7}
    assert {run.config.population.unseen for run in plan.distinct()} == {99}


def test_a_preset_can_be_chosen_though_the_study_varies_a_setting_of_it_but_not_the_setting(tmp_path):
    study = study_of(*(GridRun((f"model.d_model={width}",)) for width in (32, 64)))
    plan = make_plan(study, "laptop", ["model=moe_laptop"], tmp_path, tmp_path)
    assert {run.config.model.preset for run in plan.runs} == {"moe_laptop"}
    with pytest.raises(UserError, match="varies model.d_model itself"):
        make_plan(study, "laptop", ["model.d_model=16"], tmp_path, tmp_path)
