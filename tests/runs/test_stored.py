"""Files that anybody may have written are bounded before they are read, and faults have the form FILE: field: got …"""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moefacts.errors import UserError
from moefacts.runs import layout, stored, tables
from moefacts.runs.manifest import read_manifest
from moefacts.runs.reader import read_run
from moefacts.runs.records import read_metrics
from moefacts.training.checkpoint import load_state
from moefacts.training.checksums import CHECKSUMS, verify

MANIFEST = {"state": "finished", "versions": {"moefacts": "1"}}


@pytest.fixture
def manifest_of(tmp_path):
    """Write a manifest, and say what is wrong with it."""

    def complaint(text):
        (tmp_path / layout.MANIFEST).write_text(text if isinstance(text, str) else json.dumps(text))
        with pytest.raises(UserError) as error:
            read_manifest(tmp_path)
        assert str(error.value).startswith(f"{tmp_path}/{layout.MANIFEST}")
        return str(error.value).removeprefix(f"{tmp_path}/{layout.MANIFEST}")

    return complaint


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"no_knowledge_baseline": "2.5"}, ": no_knowledge_baseline: got '2.5', expected a valid number"),
        ({"no_knowledge_baseline": 0.0}, ": no_knowledge_baseline: got 0.0, expected greater than 0"),
        ({"parameters": {}}, ": parameters.total: got nothing, expected a value"),
        ({"tokens": None}, ": tokens: got None, expected a valid integer"),
        ({"tokens": True}, ": tokens: got True, expected a valid integer"),
        ({"tokens": -1}, ": tokens: got -1, expected greater than or equal to 0"),
        ({"population_fingerprint": 12}, ": population_fingerprint: got 12, expected a valid string"),
        ({"no_knowledge_baseline_by_attribute": [1.0, None]},
         ": no_knowledge_baseline_by_attribute.1: got None, expected a valid number"),
        ({"state": "done"}, ": state: got 'done', expected 'running', 'finished', 'interrupted' or 'failed'"),
        ({"versions": {}}, ": versions.moefacts: got nothing, expected the version of moefacts"),
    ],
)  # fmt: skip
def test_an_entry_of_the_wrong_type_is_named_with_what_is_there_and_what_should_be(manifest_of, entries, complaint):
    assert manifest_of(MANIFEST | entries) == complaint


def test_what_is_no_manifest_is_refused(manifest_of):
    assert manifest_of("[1]") == ": got [1], expected one JSON object"
    assert "recursion limit exceeded" in manifest_of("[" * 200_000)
    assert "number out of range" in manifest_of('{"tokens": ' + "9" * 100_000 + "}")
    assert "is damaged" in manifest_of('{"tokens": NaN}')
    assert "more than 1,048,576 bytes" in manifest_of(json.dumps(MANIFEST | {"command": "x" * (1 << 20)}))
    assert len(manifest_of(MANIFEST | {"tokens": "x" * 100_000})) < 100


def test_entries_of_other_versions_are_kept(tmp_path):
    (tmp_path / layout.MANIFEST).write_text(json.dumps(MANIFEST | {"invented later": [1]}))
    assert read_manifest(tmp_path) == MANIFEST | {"invented later": [1]}


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        stored.read_bounded(path, 100)
    with pytest.raises(UserError, match="huge line 1 is damaged"):
        read_metrics(path)


@pytest.mark.parametrize("value", ["-1", "true", '"4"', "1e999", "null", "[]", "9223372036854775808"])
def test_a_state_that_no_loop_had_is_refused(finished_run, value):
    folder = layout.checkpoint_folder(finished_run, 8)
    (folder / CHECKSUMS).unlink(missing_ok=True)
    state = json.loads((folder / "state.json").read_text())
    text = json.dumps(state | {"records": "VALUE"}).replace('"VALUE"', value)
    (folder / "state.json").write_text(text)
    with pytest.raises(UserError, match=r"state.json: records: got .*, expected"):
        load_state(finished_run, 8)


@pytest.mark.parametrize("value", ["NaN", "1e999", '"1"', "null", "[1]", "true", "1e300"])
def test_a_metric_that_is_no_finite_number_is_named(finished_run, value):
    path = finished_run / layout.METRICS
    lines = path.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | {"train/loss": "VALUE"}).replace('"VALUE"', value)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"metrics.jsonl line 3 is damaged: 'train/loss': got .* a finite number;"):
        read_metrics(path)


def test_an_evaluation_that_lacks_a_measure_is_named(finished_run):
    path = finished_run / layout.METRICS
    records = [json.loads(line) for line in path.read_text().splitlines()]
    del next(record for record in records if record["step"] == 4)["eval/unseen/entropy/major"]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(UserError, match=r"step 4: eval/unseen/entropy/major: got nothing, expected a number"):
        read_run(finished_run)


def _damaged_table(run, change):
    path = tables.CONFIDENCE.path(run)
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(UserError) as error:
        tables.CONFIDENCE.read(run)
    return str(error.value).removeprefix(f"{path}: ")


def test_a_table_is_read_only_if_it_is_one_of_moefacts(finished_run):
    def replaced(table, name, values):
        return table.set_column(table.column_names.index(name), name, pa.array(values))

    def first(name, value):
        return lambda table: replaced(table, name, [value, *table.column(name).to_pylist()[1:]])

    rows = len(tables.CONFIDENCE.read(finished_run))
    whole = pq.read_table(tables.CONFIDENCE.path(finished_run))
    for change, complaint in [
        (lambda _: whole.slice(0, 0), "got 0 rows"),
        (lambda _: whole.drop_columns(["entropy"]), "entropy: got 0 columns, expected one"),
        (lambda _: replaced(whole, "entropy", ["x"] * rows), "entropy: got string, expected finite numbers"),
        (
            lambda _: first("entropy", float("nan"))(whole),
            "entropy: got double, not all finite, expected finite numbers",
        ),
        (lambda _: first("max_probability", 1.5)(whole), "max_probability: got double from "),
        (lambda _: first("cohort", None)(whole), "cohort: got string, 1 of them missing, expected text"),
        (lambda _: pa.concat_tables([whole, whole]), "got two rows of cohort 'seen'"),
        (lambda _: first("attribute", "x" * 5000)(whole), "attribute: got string, expected text"),
    ]:
        assert complaint in _damaged_table(finished_run, change)


def test_a_table_that_would_fill_the_memory_is_not_read(finished_run):
    """A few kilobytes of Parquet can hold any number of equal rows."""
    path = tables.VOCABULARY.path(finished_run)
    part = pa.table({"layer": pa.array([0]).take(pa.array([0] * 1_000_000)), "specialisation": [0.5] * 1_000_000})
    with pq.ParquetWriter(path, part.schema) as writer:
        for _ in range(11):
            writer.write_table(part)
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match=r"got 11,000,000 rows in .* bytes, expected from 1 to 10,000,000 rows"):
        tables.VOCABULARY.read(finished_run)


def test_who_has_been_shown_was_shown_some_steps_ago(tmp_path):
    rows = {"step": [4, 4], "individual": [0, 1], "times_shown": [2, 0], "attribute_loss": [1.0, 2.0]}
    whole = pd.DataFrame(rows | {"control_loss": [2.0, 2.0], "steps_since_shown": [3.0, float("nan")]})
    tables.RETENTION.write(tmp_path, whole)
    assert len(tables.RETENTION.read(tmp_path)) == 2
    tables.RETENTION.write(tmp_path, whole.assign(times_shown=[2, 1]))
    with pytest.raises(
        UserError, match="steps_since_shown: got 1 wrong rows, expected no value just where times_shown"
    ):
        tables.RETENTION.read(tmp_path)


def test_weights_that_grew_are_refused_before_they_are_read(finished_run):
    path = layout.checkpoint_folder(finished_run, 8) / "model.safetensors"
    length = path.stat().st_size
    verify(path)
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match=rf"is damaged \(got 1,099,511,627,776 bytes, expected {length:,}\)"):
        verify(path)
