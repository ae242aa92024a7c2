"""A wrong command gets one line that says what is wrong, and changes nothing."""

import pytest

from tests.conftest import TINY


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("-m", "population.size=64,0"), "population.size=0 is too small"),
        (("-m", "seed=0,x", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), "seed: Value 'x'"),
        (("-m", "seed=0,1", "--cfg", "job"), "leave out -m"),
    ],
)
def test_a_wrong_value_anywhere_in_a_sweep_is_found_before_anything_trains(
    fails, tmp_path, monkeypatch, arguments, answer
):
    monkeypatch.chdir(tmp_path)
    assert answer in fails("train", *TINY, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("population.sise=5", "there is no setting 'population.sise'; did you mean population.size"),
        ("steps=5", "did you mean training.steps?"),
        ("+extra=1", "there is no setting 'extra'"),
        ("population.size=many", "population.size: Value 'many' of type 'str' could not be converted to Integer"),
        ("population.size=0", "population.size=0 is too small; it must be at least 1"),
        ("population.size=2000000", "the pools make only 1728"),
        ("population.pools.cities=801", "population.pools.cities=801 is too large; there are only 800"),
        ("population.held_out_templates=25", "it must lie between 1 and 24"),
        ("scale=lapton", "there is no scale 'lapton'; did you mean laptop?"),
        ("model=dense_44", "did you mean dense_44m"),
        ("model.d_head=7", "model.d_head=7 must be even"),
        ("model.mixer=lstm", "model.mixer=lstm is not one of attention, rg_lru"),
        ("tokenizer=words", "tokenizer=words is not a valid value; did you mean word?"),
        ("training.schedule=cos", "did you mean cosine"),
        ("training.gradient_accumulation=3", "must divide training.batch_size=8"),
        ("device=cuda", "there is no CUDA device here; use device=cpu or device=auto"),
        ("nonsense", "'nonsense' is not an override; write key=value"),
        ("training.lr=1", "did you mean training.learning_rate?"),
        ("model=dense-44m", "did you mean dense_44m"),
        ("population.size=1e3", "write a whole number, such as 1000"),
        ("seed=99999999999999999999", "it must be below 2**63"),
        ("training.learning_rate=inf", "must be finite"),
        ("training.clip_norm=0", "null for no clipping"),
        ("model.norm_epsilon=-1", "model.norm_epsilon=-1.0 must be positive"),
        ("run.name=../oops", "must be the name of one folder"),
        ("--frobnicate", "there is no option --frobnicate"),
        ("model.moe.kind=top_k", "choose a mixture, such as model=moe_laptop"),
        ("training.learning_rate=1e-3,2e-3", "add -m to train one run per value"),
        ("~training.steps=5", "The value of 'training.steps'"),
        ("hydra/launcher=slurm", "there is no launcher 'slurm' here"),
    ],
)
def test_a_wrong_override_gets_one_line_and_leaves_nothing_behind(fails, tmp_path, override, answer, monkeypatch):
    if override == "device=cuda":
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert answer in fails("train", *TINY, f"run.dir={tmp_path}/run", override)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "first_line", "answer"),
    [
        ("+experiment=mine", "", "read as experiment.training and so on; make '# @package _global_' the first line"),
        ("experiment=mine", "# @package _global_\n", "a file of your own is added with a plus sign: +experiment=mine"),
        ("+experiment=mien", "# @package _global_\n", "there is no experiment 'mien'; did you mean mine?"),
    ],
)
def test_who_chooses_a_file_of_their_own_wrongly_is_told_what_is_missing(
    fails, tmp_path, monkeypatch, override, first_line, answer
):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(f"{first_line}training:\n  steps: 20\n")
    monkeypatch.chdir(tmp_path)
    assert answer in fails("train", *TINY, "-cd", "conf", override)
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "runs/x"), ("analyze",), ("foo",), ("generate", "--preview", "abc"), ("train", "--resume"),
        ("analyze", "/dev/null"), ("train", *TINY, "run.dir=/dev/null/x"), ("generate", *TINY, "--out", "/dev/null/x"),
        ("train", "--cfg", "jobb"),
    ],
    ids=str,
)  # fmt: skip
def test_other_wrong_commands_get_one_line_too(fails, arguments):
    assert fails(*arguments)


def test_a_foreign_folder_is_refused_and_kept(fails, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "is neither empty nor a run directory" in fails("train", *TINY, f"run.dir={tmp_path}")
    assert "not a run directory" in fails("analyze", tmp_path)
    assert "not a run directory" in fails("ask", tmp_path, "A B C")
    assert "not a run directory" in fails("train", "--resume", tmp_path)
    assert "there is no run directory" in fails("analyze", tmp_path / "nowhere")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_directory_of_another_configuration_is_refused(fails, finished_run):
    line = fails("train", *TINY, f"run.dir={finished_run}", "training.steps=13")
    assert "another configuration (different: training.steps)" in line


def test_resume_takes_no_overrides(fails, finished_run):
    assert "leave out seed=3" in fails("train", "--resume", finished_run, "seed=3")


def test_generate_needs_something_to_do(fails):
    assert "give --out FOLDER" in fails("generate")


@pytest.mark.parametrize(("name", "answer"), [("Only Two", "is not a full name"), ("Xa Xb Xc", "vocabulary")])
def test_ask_explains_an_impossible_name(fails, finished_run, name, answer):
    assert answer in fails("ask", finished_run, name)
