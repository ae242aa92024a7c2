"""The commands as a user types them. They run in this process; ``test_interruptions`` starts processes for signals."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest
from moefacts.runs.records import read_metrics
from tests.conftest import TINY


def moefacts(*arguments, environment=None, **options):
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "moefacts", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | (environment or {}), timeout=300, **options
    )


@pytest.fixture
def fails(monkeypatch, capsys):
    """Run a command that must fail for the user's reason: exit code 2 and exactly one line on stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["moefacts", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        assert exit_info.value.code == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("run  step")]
        assert len(lines) == 1, lines
        return lines[0]

    return run


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


def test_training_that_diverges_says_so(fails, tmp_path):
    line = fails("train", *TINY, f"run.dir={tmp_path}/run", "training.learning_rate=1e30", "training.log_interval=1")
    assert "training diverged" in line
    assert read_manifest(tmp_path / "run")["state"] == "failed"


@pytest.mark.parametrize(
    "manifest", ['{"versions": null}', '{"versions": {"moefacts": "1"}, "state": "finished"}', "[]", "3"]
)
def test_one_damaged_run_does_not_hide_the_others(fails, finished_run, tmp_path, manifest):
    shutil.copytree(finished_run, tmp_path / "good")
    shutil.copytree(finished_run, tmp_path / "bad")
    (tmp_path / "bad" / "checkpoints" / "step_foo").mkdir()
    (tmp_path / "bad" / layout.MANIFEST).write_text(manifest)
    listing = CliRunner().invoke(cli.app, ["list", "--root", str(tmp_path)])
    assert listing.exit_code == 0
    assert "12/12" in listing.stdout
    assert str(tmp_path / "bad") in fails("analyze", tmp_path / "bad")


def test_copies_and_unfinished_runs_stay_out_of_means(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "copy")
    shutil.copytree(finished_run, tmp_path / "unfinished")
    path = tmp_path / "unfinished" / layout.MANIFEST
    path.write_text(path.read_text().replace('"finished"', '"interrupted"'))
    folders = [str(finished_run), str(tmp_path / "copy"), str(tmp_path / "unfinished")]
    result = CliRunner().invoke(cli.app, ["analyze", *folders, "--json", "--out", str(tmp_path / "out")])
    assert len(json.loads(result.stdout)["runs"]) == 1
    assert "is the same run as" in result.stderr
    assert "is not finished (interrupted) and is left out" in result.stderr


def test_an_earlier_analysis_among_the_runs_is_passed_over(finished_run, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(finished_run, tmp_path / name)
    config = tmp_path / "two" / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 7"))
    for _ in range(2):
        folders = sorted(map(str, tmp_path.iterdir()))
        result = CliRunner().invoke(cli.app, ["analyze", *folders])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "analysis" / "report.html").exists()


def test_the_recorded_command_survives_odd_values(tmp_path):
    from moefacts.config.presets import compose, overrides_of

    config = compose([*TINY, "run.dir='a,b=c d'", "training.clip_norm=null", "run.study=x"])
    assert compose(overrides_of(config)) == config
    for config.run.dir in (r"back\slash", r"it's \'so\'", "ends in two\\\\"):
        assert compose(overrides_of(config)) == config


def test_settings_of_the_users_own_work_resume_and_generate(tmp_path):
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "experiment").mkdir()
    (tmp_path / "conf" / "model" / "tiny.yaml").write_text("defaults: [dense_laptop]\npreset: tiny\nd_model: 16\n")
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ntraining: {learning_rate: 1e-3}\n"
    )
    own = ["-cd", str(tmp_path / "conf"), "+experiment=mine", "model=tiny"]
    tiny = [override for override in TINY if not override.startswith("model.")]
    run = tmp_path / "run"
    result = moefacts("train", *own, *tiny, f"run.dir={run}")
    assert result.returncode == 0, result.stderr
    assert "learning_rate: 0.001" in (run / "config.yaml").read_text()
    shutil.rmtree(layout.checkpoint_folder(run, 12))
    manifest = run / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace('"finished"', '"running"'))
    assert moefacts("train", "--resume", str(run)).returncode == 0
    made = moefacts("generate", *own, *tiny, "dataset.train=10", "--out", str(tmp_path / "data"))
    assert made.returncode == 0, made.stderr


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


def damaged_copy(finished_run, tmp_path, step=8):
    """An unfinished copy of a run whose newest checkpoint is cut short."""
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    shutil.rmtree(layout.checkpoint_folder(copy, 12))
    manifest = read_manifest(copy) | {"state": "running"}
    (copy / layout.MANIFEST).write_text(json.dumps(manifest))
    return copy, layout.checkpoint_folder(copy, step)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_truncated_checkpoint_is_named_and_nothing_is_lost(fails, finished_run, tmp_path, file):
    copy, checkpoint = damaged_copy(finished_run, tmp_path)
    content = (checkpoint / file).read_bytes()
    (checkpoint / file).write_bytes(content[: len(content) // 2])
    metrics = (copy / layout.METRICS).read_bytes()
    line = fails("train", "--resume", copy)
    assert "cannot resume from step 8" in line
    assert file in line
    assert (copy / layout.METRICS).read_bytes() == metrics
    assert checkpoint.exists()


def test_asking_a_truncated_checkpoint_names_it(fails, finished_run, tmp_path):
    copy, checkpoint = damaged_copy(finished_run, tmp_path)
    (checkpoint / "model.safetensors").write_bytes(b"short")
    assert "model.safetensors is damaged" in fails("ask", copy, "A B C")


def test_a_damaged_metrics_line_is_named_and_the_file_kept(fails, finished_run, tmp_path):
    copy, _ = damaged_copy(finished_run, tmp_path)
    lines = (copy / layout.METRICS).read_text().splitlines()
    lines[1] = lines[1][:20]
    (copy / layout.METRICS).write_text("\n".join(lines) + "\n")
    for command in (["analyze", copy], ["train", "--resume", copy]):
        assert "metrics.jsonl line 2 is damaged" in fails(*command)
    assert (copy / layout.METRICS).read_text().splitlines() == lines


def test_a_second_process_on_the_same_run_is_refused(fails, finished_run, tmp_path):
    from filelock import FileLock

    copy, _ = damaged_copy(finished_run, tmp_path)
    with FileLock(copy / layout.LOCK):
        assert "is being trained by another process" in fails("train", "--resume", copy)


def test_a_full_disk_ends_in_one_line_and_the_run_goes_on_later(fails, tmp_path, monkeypatch, finished_run):
    """The disk fills up while a checkpoint is written, as safetensors reports it."""
    from safetensors import SafetensorError

    from moefacts.training import checkpoint

    save_file, calls = checkpoint.save_file, []

    def full_disk(tensors, path, **options):
        calls.append(path)
        if len(calls) > 3:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(tensors, path, **options)

    monkeypatch.setattr(checkpoint, "save_file", full_disk)
    arguments = ("train", *TINY, f"run.dir={tmp_path}/run")
    assert "no space left on the device" in fails(*arguments)
    assert read_manifest(tmp_path / "run")["state"] == "failed"
    assert layout.checkpoint_steps(tmp_path / "run") == [0]
    monkeypatch.setattr(checkpoint, "save_file", save_file)
    monkeypatch.setattr(sys, "argv", ["moefacts", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == 0
    new, old = (read_metrics(run / layout.METRICS) for run in (tmp_path / "run", finished_run))
    assert [r["eval/seen/attribute_loss"] for r in new if "eval/seen/attribute_loss" in r] == [
        r["eval/seen/attribute_loss"] for r in old if "eval/seen/attribute_loss" in r
    ]


def test_resume_takes_no_overrides(fails, finished_run):
    assert "leave out seed=3" in fails("train", "--resume", finished_run, "seed=3")


def test_generate_needs_something_to_do(fails):
    assert "give --out FOLDER" in fails("generate")


@pytest.mark.parametrize(("name", "answer"), [("Only Two", "is not a full name"), ("Xa Xb Xc", "vocabulary")])
def test_ask_explains_an_impossible_name(fails, finished_run, name, answer):
    assert answer in fails("ask", finished_run, name)


def test_ask_tells_who_was_seen_and_knows_the_truth(finished_run, population):
    names = [population.full_name(population.cohort(cohort)[0]) for cohort in ("seen", "unseen")]
    result = CliRunner().invoke(cli.app, ["ask", str(finished_run), *names, "--json", "--top", "2"])
    assert result.exit_code == 0, result.output
    replies = json.loads(result.stdout)
    assert [reply["cohort"] for reply in replies] == ["seen", "unseen"]
    truth = {attribute: answer["truth"] for attribute, answer in replies[0]["answers"].items()}
    assert truth == population.facts(0)
    for answer in replies[0]["answers"].values():
        assert len(answer["answers"]) == 2
        assert 1 >= answer["answers"][0][1] >= answer["answers"][1][1] >= 0
    shown = CliRunner().invoke(cli.app, ["ask", str(finished_run), names[1]])
    assert "never seen in training" in shown.stdout


def test_analyze_prints_json_and_writes_a_report(finished_run, tmp_path):
    result = CliRunner().invoke(cli.app, ["analyze", str(finished_run), "--json", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    measures = json.loads(result.stdout)
    for key in (
        "baseline",
        "plateau_start",
        "plateau_end",
        "plateau_end_interpolated",
        "steps_to_50_accuracy",
        "unseen_auroc",
    ):
        assert key in measures
    assert measures["unseen_auroc"] == pytest.approx(0.5, abs=0.2)  # twelve steps teach nothing about anybody
    assert (tmp_path / "report.html").exists()


def test_generate_writes_what_preview_shows(tmp_path):
    result = CliRunner().invoke(
        cli.app, ["generate", *TINY, "dataset.train=50", "--out", str(tmp_path / "d"), "--preview", "1"]
    )
    assert result.exit_code == 0, result.output
    import pyarrow.parquet as pq

    text = pq.read_table(tmp_path / "d" / "data" / "biographies-train-00000-of-00001.parquet")["text"][0].as_py()
    assert text in result.stdout.replace("\n", " ").replace("  ", " ") or text in result.stdout


def test_list_shows_presets_and_runs(finished_run):
    result = CliRunner().invoke(cli.app, ["list", "--root", str(finished_run.parent)])
    assert "dense_44m" in result.stdout
    assert "finished" in result.stdout
    assert "12/12" in result.stdout


def test_the_same_configuration_is_the_same_run_and_is_not_trained_twice(tmp_path):
    first, second = (moefacts("train", *TINY, f"run.root={tmp_path}", cwd=tmp_path) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout == second.stdout
    assert "already finished" in second.stderr


def test_multirun_with_joblib_trains_every_job(tmp_path):
    result = moefacts("train", *TINY, "-m", "seed=0,1", "hydra/launcher=joblib", f"run.root={tmp_path}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    seeds = [read_manifest(path.parent) for path in tmp_path.glob("train/*/manifest.json")]
    assert [manifest["state"] for manifest in seeds] == ["finished"] * 2
    assert len({manifest["population_fingerprint"] for manifest in seeds}) == 2


def test_help_imports_no_torch():
    code = "import sys; import moefacts.cli.app as a; sys.argv = ['moefacts', '--help']\ntry: a.main()\nfinally: print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip().endswith("False")


def test_wandb_mirrors_offline_and_its_failure_is_survived(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    result = moefacts("train", *TINY, "wandb.mode=offline", f"run.dir={tmp_path}/run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "run").glob("wandb/offline-run-*"))
    broken = tmp_path / "broken" / "wandb"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("def init(**_):\n    raise RuntimeError('no network')\nSettings = dict\n")
    path = f"{tmp_path / 'broken'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    result = moefacts("train", *TINY, "wandb.mode=online", f"run.dir={tmp_path}/r2", environment={"PYTHONPATH": path})
    assert result.returncode == 0, result.stderr
    assert "W&B stopped mirroring (no network)" in result.stderr
