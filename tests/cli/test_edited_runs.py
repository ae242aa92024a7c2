"""Runs whose files no longer belong together are refused in one line, or go on from what is whole (issue 16, 2 and 18)."""

import json
import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.runs.manifest import read_manifest
from moefacts.runs.records import intact_records, read_metrics
from moefacts.training.checkpoint import MODEL, OPTIMIZER, STATE, load_state
from moefacts.training.checksums import CHECKSUMS
from moefacts.training.resuming import resumable_step
from tests.torture.commands import call
from tests.training.comparing import records, same, weights

FILES = (MODEL, OPTIMIZER, STATE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(10**400),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def copy(trained_once, tmp_path_factory):
    """One copy of a finished run for all tests of this file that leave it as it was."""
    return shutil.copytree(trained_once, tmp_path_factory.mktemp("edited") / "run")


@pytest.fixture
def edit(finished_run):
    """Replace a text in the stored settings of a run, and return its directory."""

    def replace(old, new):
        path = finished_run / layout.CONFIG
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
        return finished_run

    return replace


@pytest.mark.parametrize("command", ["resume", "ask", "export", "analyze"])
@pytest.mark.parametrize("state", ["finished", "interrupted"])
def test_2_an_edited_seed_is_named_wherever_a_run_is_opened(fails, edit, tmp_path, command, state):
    run = edit("\nseed: 0\n", "\nseed: 5\n")
    manifest = run / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace('"finished"', f'"{state}"'))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    arguments = {
        "resume": ["train", "--resume", run],
        "ask": ["ask", run, "Annie Betty Harris"],
        "export": ["export", run, "--out", tmp_path / "exported"],
        "analyze": ["analyze", run],
    }
    line = fails(*arguments[command])
    assert "config.yaml has seed=5, but the run was trained with seed=0" in line
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("old", "new", "named"), [("unseen: 32", "unseen: 31", "population.unseen=31"), ("cities: 8", "cities: 9", "population.pools.cities=9")])  # fmt: skip
def test_2_any_edited_setting_of_the_population_is_named(fails, edit, old, new, named):
    assert f"has {named}, but" in fails("analyze", edit(old, new))


def test_2_without_the_command_of_the_run_the_refusal_is_not_lost(fails, edit):
    run = edit("\nseed: 0\n", "\nseed: 5\n")
    manifest = read_manifest(run)
    del manifest["command"]
    (run / layout.MANIFEST).write_text(json.dumps(manifest))
    assert "was trained on other people than its seed and population.* describe" in fails("analyze", run)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_2_any_flipped_bit_in_a_checkpoint_is_noticed(copy, file, place, bit):
    path = layout.checkpoint_folder(copy, 12) / file
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[int(place * len(whole))] ^= 1 << bit
    path.write_bytes(flipped)
    try:
        step, problem = resumable_step(copy)
        assert step == 8
        assert f"cannot resume from step 12: {path} is damaged" in problem
    finally:
        path.write_bytes(whole)
    assert resumable_step(copy) == (12, "")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_2_a_state_of_wrong_values_is_refused_even_without_checksums(copy, data):
    folder = layout.checkpoint_folder(copy, 12)
    text, checksums = (folder / STATE).read_text(), (folder / CHECKSUMS).read_bytes()
    values = json.loads(text)
    key = data.draw(st.sampled_from(sorted(values)))
    value = data.draw(st.just(-3) | JSON)
    (folder / STATE).write_text(json.dumps(values | {key: value}))
    (folder / CHECKSUMS).unlink()
    try:
        state = load_state(copy, 12)
    except UserError:
        pass
    else:
        assert state.step == 12
        assert state.records >= 0
        assert state.tokens >= 0
        assert state.wall_seconds >= 0
    finally:
        (folder / STATE).write_text(text)
        (folder / CHECKSUMS).write_bytes(checksums)


def test_2_a_negative_number_of_records_loses_no_metrics(copy):
    folder = layout.checkpoint_folder(copy, 12)
    text = (folder / STATE).read_text()
    (folder / STATE).write_text(json.dumps(json.loads(text) | {"records": -3}))
    (folder / CHECKSUMS).rename(folder / "away")
    try:
        with pytest.raises(UserError, match="state.json: records: got -3"):
            load_state(copy, 12)
    finally:
        (folder / STATE).write_text(text)
        (folder / "away").rename(folder / CHECKSUMS)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_2_metrics_that_are_out_of_order_repeated_or_no_numbers_are_refused(copy, tmp_path_factory, data):
    lines = (copy / layout.METRICS).read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    path = tmp_path_factory.mktemp("metrics") / layout.METRICS
    first = data.draw(st.integers(0, len(lines) - 1))
    kind = data.draw(st.sampled_from(["swap", "repeat", "value"]))
    if kind == "swap":
        second = data.draw(st.sampled_from([n for n in range(len(lines)) if steps[n] != steps[first]]))
        lines[first], lines[second] = lines[second], lines[first]
    elif kind == "repeat":
        lines.insert(first, lines[first])
    else:
        record = json.loads(lines[first])
        wrong = data.draw(st.sampled_from([None, "1.0", [1.0], {}, True, float("nan"), float("inf"), 10**400]))
        lines[first] = json.dumps(record | {data.draw(st.sampled_from(sorted(record))): wrong})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"metrics.jsonl line \d+ "):
        read_metrics(path)
    kept, _ = intact_records(path)
    assert kept == [json.loads(line) for line in (copy / layout.METRICS).read_text().splitlines()][: len(kept)] or kind == "swap"  # fmt: skip


@pytest.mark.parametrize("damage", ["torn", "no line end", "last line nonsense"])
def test_2_the_advice_about_torn_metrics_of_a_finished_run_works(fails, finished_run, damage):
    whole, trained = records(finished_run), weights(finished_run)
    path = finished_run / layout.METRICS
    text = path.read_text()
    cut = {"torn": text[:-30], "no line end": text[:-1], "last line nonsense": text[:-30] + "\n"}
    path.write_text(cut[damage])
    assert "`moefacts train --resume` on this run" in fails("analyze", finished_run)
    result = call("train", "--resume", str(finished_run))
    assert result.code == 0, result.stderr
    assert "resuming from step 8, because it cannot resume from step 12" in result.stderr
    assert "has lost records" in result.stderr
    assert records(finished_run) == whole
    assert same(weights(finished_run), trained)
    assert read_manifest(finished_run)["state"] == "finished"


@pytest.mark.parametrize(("file", "damage"), [(MODEL, "cut"), (OPTIMIZER, "missing"), (STATE, "empty")])
def test_18_a_damaged_newest_checkpoint_is_passed_over_and_the_run_ends_in_the_same_bits(
    finished_run, file, damage, capsys
):
    from moefacts.config.loader import read_config
    from moefacts.experiments.tasks.train import execute

    whole = records(finished_run)
    trained = {name: tensor.clone() for name, tensor in weights(finished_run).items()}  # not mapped to what is cut
    path = layout.checkpoint_folder(finished_run, 12) / file
    content = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    manifest = finished_run / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace('"finished"', '"running"'))
    config = read_config(finished_run / layout.CONFIG)
    config.run.dir = str(finished_run)
    execute(config)
    said = capsys.readouterr().err
    assert f"resuming from step 8, because it cannot resume from step 12: {path} is" in said
    assert records(finished_run) == whole
    assert same(weights(finished_run), trained)
    assert resumable_step(finished_run) == (12, "")


def test_18_when_no_checkpoint_is_whole_nothing_is_lost(fails, finished_run):
    for step in (8, 12):
        path = layout.checkpoint_folder(finished_run, step) / OPTIMIZER
        path.write_bytes(path.read_bytes()[: random.Random(step).randrange(100)])
    manifest = finished_run / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace('"finished"', '"running"'))
    metrics = (finished_run / layout.METRICS).read_bytes()
    line = fails("train", "--resume", finished_run)
    assert "cannot resume from step 12" in line
    assert "train the run in another run.dir" in line
    assert (finished_run / layout.METRICS).read_bytes() == metrics
    assert layout.checkpoint_steps(finished_run) == [0, 4, 8, 12]


def test_18_ask_and_export_name_the_checkpoint_to_take_instead(fails, finished_run, tmp_path):
    path = layout.checkpoint_folder(finished_run, 12) / MODEL
    path.write_bytes(path.read_bytes()[:-1])
    for command in (["ask", finished_run, "Annie Betty Harris"], ["export", finished_run, "--out", tmp_path / "out"]):
        line = fails(*command)
        assert f"{path} is damaged" in line
        assert "--step 8" in line
    assert list(tmp_path.iterdir()) == []


def state_in_list(run):
    from moefacts.runs.listing import describe

    run_in_list = describe(run)
    return run_in_list.state, run_in_list.note


def test_2_a_list_says_that_the_settings_of_a_finished_run_were_edited(edit):
    run = edit("\nseed: 0\n", "\nseed: 5\n")
    state, note = state_in_list(run)
    assert state == "damaged"
    assert "config.yaml is not the file with which the run was trained" in note


def test_2_a_list_says_that_a_finished_run_lost_its_last_metrics(finished_run):
    metrics = finished_run / layout.METRICS
    assert state_in_list(finished_run) == ("finished", "")
    metrics.write_bytes(metrics.read_bytes()[:-10])
    state, note = state_in_list(finished_run)
    assert state == "damaged"
    assert "has lost what was recorded after step" in note


def test_2_a_list_takes_a_run_of_an_earlier_version_as_it_is(edit, finished_run):
    manifest = json.loads((finished_run / layout.MANIFEST).read_text())
    del manifest["config_sha256"]
    (finished_run / layout.MANIFEST).write_text(json.dumps(manifest))
    assert state_in_list(finished_run) == ("finished", "")


def test_16_a_value_that_is_no_number_is_called_so_and_its_place_is_named(fails, finished_run):
    metrics = finished_run / layout.METRICS
    lines = metrics.read_text().splitlines(keepends=True)
    record = json.loads(lines[2])
    key = next(key for key in record if key != "step")
    lines[2] = json.dumps(record | {key: float("nan")}) + "\n"
    metrics.write_text("".join(lines))
    line = fails("analyze", finished_run)
    assert f"metrics.jsonl line 3 is damaged: '{key}': got nan, expected a finite number" in line
    assert "cut short" not in line
    assert line.count("`moefacts train --resume`") == 1
    assert "`moefacts train --resume`" not in intact_records(metrics)[1]
