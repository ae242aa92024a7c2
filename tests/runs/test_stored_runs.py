"""This version reads, resumes and reuses what earlier versions wrote. See tests/fixtures/README.md."""

import json
import shlex
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from moefacts.analysis.summary import measure_run
from moefacts.cli import app as cli
from moefacts.config import upgrades
from moefacts.config.differences import as_dotted
from moefacts.config.identity import identity
from moefacts.config.loader import config_yaml, read_config, read_values
from moefacts.errors import UserError
from moefacts.experiments.engine.adopt import adopt_finished
from moefacts.experiments.engine.grid import make_plan
from moefacts.experiments.engine.launch import runs_to_launch
from moefacts.experiments.studies import catalog
from moefacts.experiments.studies.catalog import find_studies
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout, tables
from moefacts.runs.location import run_directory, run_name
from moefacts.runs.manifest import FINISHED, read_manifest
from moefacts.runs.reader import read_run
from moefacts.runs.records import read_metrics
from moefacts.synthetic_data.population import build_population
from moefacts.training.checkpoint import renamed
from tests.conftest import tiny_config

FIXTURES = Path(__file__).parents[1] / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())
RUNS = sorted(path.parent.relative_to(FIXTURES) for path in FIXTURES.glob("*/*/*/config.yaml"))
STUDIES = sorted(path.parent.relative_to(FIXTURES) for path in FIXTURES.glob("*/*/results.json"))


def of_kind(kind, name="train"):
    return [pytest.param(run, id=str(run)) for run in RUNS if run.parts[1] == name and kind in run.name]


@pytest.fixture
def copied(tmp_path):
    """A function that copies a fixture into the test's own folder."""
    return lambda path: Path(shutil.copytree(FIXTURES / path, tmp_path / path))


def moefacts(*arguments):
    result = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("version", VERSIONS)
def test_they_are_listed_with_their_state(copied, version):
    root = copied(version)
    lines = [line for line in moefacts("list", "--root", root).splitlines() if str(root) in line]
    states = sorted(line.split()[1] for line in lines)
    assert states == sorted(read_manifest(run.parent)["state"] for run in root.glob("*/*/config.yaml"))
    assert "damaged" not in states


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_their_settings_are_read_quickly_as_they_are_read_thoroughly(run):
    path = FIXTURES / run / layout.CONFIG
    assert as_dotted(read_values(path)) == as_dotted(asdict(read_config(path)))


@pytest.mark.parametrize("run", [run for run in RUNS if "half_done" not in run.name], ids=str)
def test_they_are_analyzed_as_they_were(copied, run):
    path = copied(run)
    read = read_run(path)
    measured = measure_run(read)
    assert measured["final_attribute_loss"] == read.records[-1]["eval/seen/attribute_loss"]
    assert measured["unseen_auroc"] is not None
    assert measured["unseen_teacher_forced_calibration_error"] is not None
    assert set(read.confidence["cohort"]) == {"seen", "unseen"}


@pytest.mark.usefixtures("quick_figures")
@pytest.mark.parametrize("run", [of_kind("moe")[0], of_kind("moe")[-1]])  # of the oldest and of the newest format
def test_a_mixture_is_probed_and_reported(copied, run):
    path = copied(run)
    shutil.rmtree(path / layout.PROBES)
    moefacts("analyze", path)
    assert all(table.path(path).exists() for table in (*tables.ROUTING, tables.ATTENTION))
    assert (path / layout.REPORT).exists()


@pytest.mark.parametrize("run", [*of_kind("n32-seed0"), *of_kind("half_done")])
def test_they_answer_unless_they_are_patched(copied, run):
    path = copied(run)
    settings = read_config(path / layout.CONFIG)
    person = build_population(settings.population, settings.seed).full_name(0)
    question = ["ask", str(path), person, "--json"]
    if settings.patching.is_on:
        assert isinstance(CliRunner().invoke(cli.app, question).exception, UserError)
        return
    reply = json.loads(CliRunner().invoke(cli.app, question).stdout)[0]
    assert reply["cohort"] == "seen"
    assert set(reply["answers"]) == {"birth_date", "birthplace", "location", "university", "major", "company"}


@pytest.mark.parametrize("run", of_kind("half_done"))
def test_a_dense_model_is_exported(copied, run, tmp_path):
    moefacts("export", copied(run), "--out", tmp_path / "exported")
    assert (tmp_path / "exported" / "model.safetensors").exists()


@pytest.mark.parametrize("run", of_kind("half_done"))
def test_an_interrupted_run_goes_on_to_where_the_uninterrupted_one_is(copied, run):
    path = copied(run)
    moefacts("train", "--resume", path)
    whole = next(
        other
        for other in (FIXTURES / run).parent.glob("dense*")
        if identity(read_config(other / layout.CONFIG)) == identity(read_config(path / layout.CONFIG))
    )
    assert read_manifest(path)["state"] == FINISHED
    files = (layout.checkpoint_folder(one, 24) / "model.safetensors" for one in (path, whole))
    ours, theirs = (renamed(load_file(file)) for file in files)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():  # another version may sum in another order
        torch.testing.assert_close(weight, theirs[name], atol=2e-5, rtol=0)
    ours, theirs = (read_metrics(one / layout.METRICS) for one in (path, whole))
    assert [record["step"] for record in ours] == [record["step"] for record in theirs]
    losses = [
        [r["eval/seen/attribute_loss"] for r in records if "eval/seen/attribute_loss" in r]
        for records in (ours, theirs)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.fixture
def former_seeds(monkeypatch):
    """The grid of ``phases`` with the seeds that it had before every population size got seeds of its own."""
    study = catalog.STUDIES["phases"]
    grid = [replace(run, overrides=(*run.overrides[:-1], f"seed={n}")) for n, run in enumerate(study.grids["laptop"])]
    monkeypatch.setitem(catalog.STUDIES, "phases", replace(study, grids={"laptop": grid}))


@pytest.mark.usefixtures("former_seeds")
@pytest.mark.parametrize("study", STUDIES, ids=str)
def test_a_finished_study_trains_nothing_and_reports_the_same(copied, study):
    folder = copied(study)
    before = json.loads((folder / "results.json").read_text())
    _, _, name, *overrides = shlex.split(before["command"])
    plan = make_plan(find_studies(name, "laptop")[0], "laptop", overrides[2:], folder, folder)
    assert runs_to_launch(plan, retry_failed=True) == []
    assert {run.path.name for run in plan.distinct()} == {run["run"] for run in before["runs"]}
    CliRunner().invoke(cli.app, ["reproduce", name, *overrides, "--out", str(folder), "--report"])
    after = json.loads((folder / "results.json").read_text())
    assert [run["final_attribute_loss"] for run in after["runs"]] == [r["final_attribute_loss"] for r in before["runs"]]
    assert after["complete"]


@pytest.mark.usefixtures("former_seeds")
@pytest.mark.parametrize("study", STUDIES, ids=str)
def test_another_study_takes_its_runs_over_under_their_present_names(copied, study):
    folder = copied(study)
    _, _, name, *overrides = shlex.split(json.loads((folder / "results.json").read_text())["command"])
    plan = adopt_finished(
        make_plan(find_studies(name, "laptop")[0], "laptop", overrides[2:], folder.parent / "other", folder)
    )
    assert {run.state for run in plan.distinct()} == {FINISHED}
    assert {run.path.name for run in plan.distinct()} == {run_name(run.config) for run in plan.distinct()}
    assert len(list((folder.parent / "other").iterdir())) == len(plan.distinct())


@pytest.mark.parametrize("run", of_kind("seed0-"))
def test_the_same_config_leads_to_the_directory_of_the_earlier_name(copied, run):
    copied(run)
    root = copied(Path(run.parts[0]) / "phases").parent if (FIXTURES / run.parts[0] / "phases").exists() else None
    path = (root or Path()) and FIXTURES / run
    config = read_config(path / layout.CONFIG)
    config.run.dir, config.run.root, config.run.study, config.run.name = None, str(path.parents[1]), "train", None
    assert identity(read_config(run_directory(config) / layout.CONFIG)) == identity(config)


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_their_configs_are_stored_again_without_loss(run, tmp_path):
    config = read_config(FIXTURES / run / layout.CONFIG)
    (tmp_path / "config.yaml").write_text(config_yaml(config))
    assert read_config(tmp_path / "config.yaml") == config
    assert f"{upgrades.FORMAT}: {upgrades.CURRENT_FORMAT}\n" in (tmp_path / "config.yaml").read_text()


def test_a_later_format_is_refused_and_a_step_is_applied_once(tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    stored = config_yaml(tiny_config("seed=3"))
    path.write_text(stored.replace("format: 2", "format: 99"))
    with pytest.raises(UserError, match="format 99, which a later version of moefacts wrote"):
        read_config(path)
    path.write_text(stored.replace("seed: 3", "replicate: 3"))
    with pytest.raises(UserError, match="there is no setting 'replicate'"):
        read_config(path)
    renamed = lambda values: {("seed" if key == "replicate" else key): value for key, value in values.items()}  # noqa: E731
    monkeypatch.setattr(upgrades, "UPGRADES", upgrades.UPGRADES | {2: renamed})
    monkeypatch.setattr(upgrades, "CURRENT_FORMAT", 3)
    assert read_config(path).seed == 3


def test_an_interpolation_in_a_stored_config_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(config_yaml(tiny_config()).replace("study: train", "study: ${oc.env:HOME}"))
    with pytest.raises(UserError, match="run.study=.* is an interpolation"):
        read_config(path)


@pytest.mark.parametrize("run", [*of_kind("n32-seed0"), *of_kind("n32-seed0", "phases")])
def test_the_same_settings_give_the_same_curves_as_they_did(run, tmp_path):
    """Another machine may round differently. Any change to samples, weights or decisions would show at once."""
    config = read_config(FIXTURES / run / layout.CONFIG)
    if config.patching.is_on:
        pytest.skip("its reference would have to be trained first")
    config.run.dir = str(tmp_path / "again")
    ours, theirs = (read_metrics(one / layout.METRICS) for one in (execute(config), FIXTURES / run))
    assert len(ours) == len(theirs)
    for now, then in zip(ours, theirs, strict=True):
        # The measures of routing were those of one training batch. Now they are those of all evaluation biographies.
        shared = {key for key in now.keys() & then.keys() if not key.startswith(("throughput/", "routing/"))}
        assert {key: now[key] for key in shared} == pytest.approx(
            {key: then[key] for key in shared}, rel=1e-4, abs=1e-6
        )
        assert then.keys() <= now.keys()
