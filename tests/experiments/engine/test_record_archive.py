"""The records of a study's runs in one file: written, taken over elsewhere, and anything else refused."""

import io
import json
import lzma
import tarfile
from dataclasses import replace

import pytest

from moefacts.errors import UserError
from moefacts.experiments.engine.grid import TO_DO
from moefacts.experiments.engine.record_archive import pack_records, take_over
from moefacts.runs import layout
from moefacts.runs.location import run_name
from moefacts.runs.manifest import FINISHED, INTERRUPTED
from moefacts.synthetic_data.population import build_population
from tests.experiments.engine.reproducing import reproduce, results
from tests.experiments.engine.run_folders import plan_of, planned, write_run
from tests.experiments.engine.tiny_study import add_to_catalog


def planned_in(study, *overrides):
    run = planned(study / "not yet named", *overrides)
    return replace(run, path=study / run_name(run.config))


def write(run, state=FINISHED):
    """A run with what an archive keeps (a probe's table) and what it does not (weights, a report, a lock)."""
    fingerprint = build_population(run.config.population, run.config.seed).fingerprint
    write_run(run.path, run.config, state, population_fingerprint=fingerprint)
    weights = layout.checkpoint_folder(run.path, 9) / "model.safetensors"
    for file in (weights, run.path / layout.PROBES / "table.parquet", run.path / layout.REPORT, run.path / layout.LOCK):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"content")
    return replace(run, state=state)


@pytest.fixture
def archive(tmp_path):
    """Records of two finished runs, beside one that was interrupted."""
    study = tmp_path / "theirs"
    runs = [
        write(planned_in(study)),
        write(planned_in(study, "seed=1")),
        write(planned_in(study, "seed=2"), INTERRUPTED),
    ]
    assert pack_records(plan_of(*runs, out=study), tmp_path / "records.tar.xz") == 2
    return tmp_path / "records.tar.xz"


def elsewhere(tmp_path, *seeds):
    study = tmp_path / "somewhere else" / "mine"
    return plan_of(*(planned_in(study, *([f"seed={seed}"] if seed else [])) for seed in seeds), out=study)


def test_what_runs_measured_is_taken_over_without_weights(archive, tmp_path):
    plan, number = take_over(elsewhere(tmp_path, 0, 1, 2), archive)
    assert number == 2
    assert [run.state for run in plan.runs] == [FINISHED, FINISHED, TO_DO]
    taken = plan.runs[0].path
    kept = {str(path.relative_to(taken)) for path in taken.rglob("*") if path.is_file()}
    assert kept == {layout.CONFIG, layout.MANIFEST, layout.METRICS, "probes/table.parquet"}
    for file in kept:
        assert (taken / file).read_bytes() == (tmp_path / "theirs" / taken.name / file).read_bytes()


def test_the_same_runs_give_the_same_bytes(archive, tmp_path):
    plan, _ = take_over(elsewhere(tmp_path, 0, 1), archive)
    pack_records(plan, tmp_path / "again.tar.xz")
    assert (tmp_path / "again.tar.xz").read_bytes() == archive.read_bytes()


def test_a_run_that_has_begun_is_left_alone(archive, tmp_path):
    plan = elsewhere(tmp_path, 0)
    write(plan.runs[0], INTERRUPTED)
    _, number = take_over(plan, archive)
    assert number == 0
    assert json.loads((plan.runs[0].path / layout.MANIFEST).read_text())["state"] == INTERRUPTED


def test_a_run_whose_settings_were_edited_is_not_taken_over(archive, tmp_path):
    members = read_members(archive)
    config = next(name for name in members if name.endswith(layout.CONFIG) and "seed1-" in name)
    members[config] = members[config].replace(b"seed: 1", b"seed: 2")  # people and numbers are those of another seed
    write_members(archive, members)
    plan, number = take_over(elsewhere(tmp_path, 2), archive)
    assert number == 0
    assert not plan.runs[0].path.exists()


def read_members(path):
    with tarfile.open(path) as opened:
        files = {member.name: opened.extractfile(member) for member in opened}
        return {name: file.read() for name, file in files.items() if file is not None}


def write_members(path, members):
    with tarfile.open(path, "w:xz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    "name",
    ["../run/config.yaml", "/run/config.yaml", "run/../../config.yaml", "config.yaml", "run/report.html", "run/.lock",
     "run/checkpoints/step_00000000/model.safetensors", "run/probes/a/b.parquet", "run/probes/../config.yaml"],
)  # fmt: skip
def test_anything_but_a_record_is_refused_and_nothing_is_written(name, archive, tmp_path):
    write_members(archive, read_members(archive) | {name: b""})
    plan = elsewhere(tmp_path, 0, 1)
    with pytest.raises(UserError, match="no record of a run"):
        take_over(plan, archive)
    assert not plan.out.exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_pipes_and_folders_are_refused(kind, archive, tmp_path):
    with tarfile.open(archive, "w:xz") as opened:
        member = tarfile.TarInfo("run/config.yaml")
        member.type, member.linkname = kind, "/etc/passwd"
        opened.addfile(member)
    with pytest.raises(UserError, match="no record of a run"):
        take_over(elsewhere(tmp_path, 0), archive)


def test_a_file_that_would_fill_the_disk_is_refused_before_it_does(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("moefacts.experiments.engine.record_archive._MOST_BYTES", 100)
    with pytest.raises(UserError, match="unpacks to more than"):
        take_over(elsewhere(tmp_path, 0), archive)


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: b"no archive", lambda content: content[: len(content) // 2],
     lambda content: lzma.compress(b"no tar"), lambda content: content[:90] + bytes(20) + content[110:]],
)  # fmt: skip
def test_a_damaged_file_is_refused_in_one_line(damage, archive, tmp_path):
    archive.write_bytes(damage(archive.read_bytes()))
    plan = elsewhere(tmp_path, 0, 1)
    with pytest.raises(UserError, match=r"records\.tar\.xz") as raised:
        take_over(plan, archive)
    assert "\n" not in str(raised.value)
    assert not plan.out.exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nowhere\.tar\.xz"):
        take_over(elsewhere(tmp_path, 0), tmp_path / "nowhere.tar.xz")


def test_a_table_can_be_left_out(archive, tmp_path):
    plan, _ = take_over(elsewhere(tmp_path, 0, 1), archive)
    for run in plan.runs:
        (run.path / layout.PROBES / "confidence.parquet").write_bytes(b"much")
    pack_records(plan, archive, ["confidence"])
    assert {name.rpartition("/")[2] for name in read_members(archive)} == {
        layout.CONFIG, layout.MANIFEST, layout.METRICS, "table.parquet"
    }  # fmt: skip


def test_without_a_finished_run_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match="no run of made-up is finished"):
        pack_records(elsewhere(tmp_path, 0), tmp_path / "records.tar.xz")
    assert not (tmp_path / "records.tar.xz").exists()


def test_a_study_is_examined_and_goes_on_from_records_alone(tmp_path, monkeypatch):
    add_to_catalog()
    monkeypatch.chdir(tmp_path)
    assert reproduce("tiny", "--to-records", "kept/records.tar.xz").exit_code == 0
    first = results(tmp_path / "runs" / "tiny")
    done = reproduce("tiny", "--report", "--out", "there", "--from-records", "kept/records.tar.xz")
    assert done.exit_code == 0, done.output
    assert "2 runs taken over" in done.output
    assert results(tmp_path / "there") == first
    assert not list((tmp_path / "there").rglob("*.safetensors"))
    again = reproduce("tiny", "--out", "third", "--from-records", "kept/records.tar.xz")
    assert again.exit_code == 0
    assert not (tmp_path / "third" / "logs").exists()  # nothing was trained


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["tiny", "--from-records", "none.tar.xz"], "cannot read none.tar.xz"),
        (["tiny", "--from-records", "x", "--dry-run"], "leave one of them out"),
        (["all", "--to-records", "x"], "goes with one study"),
        (["tiny", "--leave-out", "confidence"], "give both"),
        (["tiny", "--to-records", "x", "--leave-out", "confidenc"], "did you mean confidence"),
        (["tiny", "--to-records", ""], "a file was given as ''"),
        (["tiny", "--to-records", "."], "is a folder"),
    ],
)
def test_wrong_options_are_refused_in_one_line(arguments, line, tmp_path, monkeypatch):
    add_to_catalog()
    monkeypatch.chdir(tmp_path)
    done = reproduce(*arguments)
    assert line in str(done.exception) + done.output
    assert done.exit_code != 0
    assert not list(tmp_path.iterdir())
