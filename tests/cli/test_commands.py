"""Commands do what they say. Most of them run in this process, and some in their own."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest
from moefacts.synthetic_data.population import build_population
from tests.cli.process import moefacts
from tests.conftest import TINY, tiny_config
from tests.torture.commands import call


@pytest.mark.usefixtures("quick_figures")
def test_copies_and_unfinished_runs_are_left_out_of_means(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "copy")
    shutil.copytree(finished_run, tmp_path / "unfinished")
    path = tmp_path / "unfinished" / layout.MANIFEST
    path.write_text(path.read_text().replace('"finished"', '"interrupted"'))
    folders = [str(finished_run), str(tmp_path / "copy"), str(tmp_path / "unfinished")]
    result = CliRunner().invoke(cli.app, ["analyze", *folders, "--json", "--out", str(tmp_path / "out")])
    assert len(json.loads(result.stdout)["runs"]) == 1
    assert "is the same run as" in result.stderr
    assert "is not finished (interrupted) and is left out" in result.stderr


@pytest.mark.usefixtures("quick_figures")
def test_an_earlier_analysis_among_the_runs_is_ignored(finished_run, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(finished_run, tmp_path / name)
    config = tmp_path / "two" / "config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 7"))
    manifest = tmp_path / "two" / layout.MANIFEST
    people = build_population(tiny_config().population, seed=7).fingerprint
    manifest.write_text(json.dumps(read_manifest(manifest.parent) | {"population_fingerprint": people}))
    for folders in ([tmp_path], [tmp_path / name for name in ("analysis", "one", "two")]):
        result = CliRunner().invoke(cli.app, ["analyze", *map(str, folders)])
        assert result.exit_code == 0, result.output
        assert (tmp_path / "analysis" / "report.html").exists()
    assert not (tmp_path / "report.html").exists()  # where a study has its own


def test_the_recorded_command_survives_odd_values(tmp_path):
    from moefacts.config.presets import compose, overrides_of

    config = compose([*TINY, "run.dir='a,b=c d'", "training.clip_norm=null", "run.study=x"])
    assert compose(overrides_of(config)) == config
    for config.run.dir in (r"back\slash", r"it's \'so\'", "ends in two\\\\"):
        assert compose(overrides_of(config)) == config


def test_users_can_train_resume_and_generate_with_settings_of_their_own(tmp_path):
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
    assert call("train", "--resume", str(run)).code == 0
    made = call("generate", *own, *tiny, "dataset.train=10", "--out", str(tmp_path / "data"))
    assert made.code == 0, made.stderr


def test_ask_says_who_was_seen_and_what_is_true(finished_run, population):
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


@pytest.mark.usefixtures("quick_figures")
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
    assert measures["unseen_auroc"] == pytest.approx(0.5, abs=0.2)  # after twelve steps the model knows nobody
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


def test_list_takes_a_folder_with_and_without_an_option(finished_run, fails):
    shown = [CliRunner().invoke(cli.app, ["list", *option, str(finished_run.parent)]) for option in ((), ("--root",))]
    assert shown[0].exit_code == 0, shown[0].output
    assert shown[0].stdout == shown[1].stdout
    assert str(finished_run) in shown[0].stdout
    assert "was given twice" in fails("list", finished_run, "--root", finished_run)


def test_the_same_configuration_is_the_same_run_and_is_not_trained_twice(tmp_path, monkeypatch):
    first = moefacts("train", *TINY, f"run.root={tmp_path}", cwd=tmp_path)
    monkeypatch.chdir(tmp_path)
    second = call("train", *TINY, f"run.root={tmp_path}")
    assert first.returncode == second.code == 0, first.stderr + second.stderr
    assert first.stdout == second.stdout
    assert "already finished" in second.stderr


@pytest.mark.slow  # cli/test_interruptions.py sweeps side by side, too
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


def test_wandb_mirrors_offline_and_its_failure_does_not_stop_the_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    result = moefacts("train", *TINY, "wandb.mode=offline", f"run.dir={tmp_path}/run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "run").glob("wandb/offline-run-*"))

    def no_network(**_):
        raise RuntimeError("no network")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=no_network, Settings=dict))
    result = call("train", *TINY, "wandb.mode=online", f"run.dir={tmp_path}/r2")
    assert result.code == 0, result.stderr
    assert "W&B stopped mirroring (no network)" in result.stderr
