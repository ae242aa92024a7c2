import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from moefacts.analysis.figures import FIGURES, draw_figures
from moefacts.analysis.groups import group_by_seed
from moefacts.analysis.report import write_report
from moefacts.analysis.summary import MEANINGS, as_json, estimate, format_number, measure_run
from moefacts.errors import UserError
from moefacts.runs import layout, tables
from moefacts.runs.reader import Run, read_run


@pytest.fixture
def run(finished_run) -> Run:
    return read_run(finished_run)


def with_curve(run, seed, shift=0, **settings):
    """The same run with made-up evaluations of known phases."""
    records = []
    for step in range(0, 1001, 25):
        seen = (
            12.0 - 0.2 * step
            if step < 40
            else (2.9 if step < 400 + shift else max(2.9 - 0.01 * (step - 400 - shift), 0.1))
        )
        unseen = max(seen, 2.9) + max(step - 400, 0) * 0.005
        record = {"step": step}
        for cohort, loss in (("seen", seen), ("unseen", unseen)):
            for name, value in (("attribute_loss", loss), ("attribute_accuracy", max(0, 1 - seen / 2.9)),
                                ("max_probability", 0.5), ("entropy", 1.0)):  # fmt: skip
                record |= {f"eval/{cohort}/{name}": value}
                record |= {f"eval/{cohort}/{name}/{attribute}": value for attribute in run.attributes}
        records.append(record)
    return replace(run, records=records, settings=replace(run.settings, seed=seed, **settings))


def test_estimates_are_means_with_student_t_intervals():
    values = [1.0, 2.0, 4.0]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    result = estimate([*values, None])
    assert (result.low, result.high) == pytest.approx((low, high))
    assert (result.count, result.missing) == (3, 1)
    assert estimate([3.0]).low is None
    assert estimate([None, None]) is None


def test_a_measured_run_has_every_measure(run):
    assert set(MEANINGS) <= set(measure_run(run))


def test_phases_of_a_made_up_curve_come_out_in_the_json(run):
    made_up = with_curve(run, 0)
    result = as_json(group_by_seed([made_up]))
    crossing = 400 + (2.9 - 0.99 * run.baseline) / 0.01
    assert result["plateau_end_interpolated"] == pytest.approx(crossing, abs=25)
    assert result["plateau_start"] == 50
    assert result["unseen_final_loss_over_baseline"] > 1
    assert result["runs"][0]["plateau_end"] == result["plateau_end"]
    json.dumps(result)


def test_runs_that_differ_only_in_seed_make_a_group_with_an_interval(run):
    runs = [with_curve(run, seed, shift=25 * seed) for seed in range(3)]
    runs.append(with_curve(run, 0, tokenizer="sentencepiece_32k"))
    groups = group_by_seed(runs)
    assert sorted(len(group.runs) for group in groups) == [1, 3]
    assert {group.label for group in groups} == {"tokenizer=word", "tokenizer=sentencepiece_32k"}
    result = as_json(groups)
    ends = [entry["plateau_end"] for entry in result["runs"]][:3]
    measure = next(g for g in result["groups"] if len(g["runs"]) == 3)["measures"]["plateau_end"]
    assert measure["mean"] == pytest.approx(np.mean(ends))
    assert measure["low"] < measure["mean"] < measure["high"]
    assert "plateau_end" not in result


@pytest.mark.parametrize("several", [False, True])
def test_figures_and_a_self_contained_report_are_written(run, tmp_path, several):
    runs = [with_curve(run, seed) for seed in range(2)]
    if several:
        runs.append(with_curve(run, 0, shift=100, tokenizer="sentencepiece_32k"))
    groups = group_by_seed(runs)
    drawings = draw_figures(groups, tmp_path / "figures")
    write_report(groups, drawings, tmp_path / "report.html", None)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{n}.{e}" for n in FIGURES for e in ("png", "pdf")
    }
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == len(FIGURES) == len(drawings)
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert "<script" not in page
    assert run.manifest["command"] in page.replace("&#39;", "'")
    assert all(key in page for key in MEANINGS)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda run: (run / layout.MANIFEST).unlink(), "has no manifest.json"),
        (lambda run: (run / layout.MANIFEST).write_text("{"), "is damaged"),
        (lambda run: (run / layout.MANIFEST).write_text('{"state": "ok"}'), "not a run directory of moefacts"),
        (lambda run: (run / layout.CONFIG).unlink(), "it has no config.yaml"),
        (lambda run: (run / layout.METRICS).unlink(), "has no metrics.jsonl"),
        (lambda run: (run / layout.METRICS).write_text('{"step": 0}\n'), "has no evaluation yet"),
        (lambda run: (run / layout.METRICS).write_text('{"step": 0}\n{"st\n{"step": 2}\n'), "line 2 is damaged"),
        (lambda run: (run / layout.METRICS).write_text('{"step": 0}\n{"step": 1, "a'), "line 2 .* --resume"),
        (lambda run: (run / layout.METRICS).write_bytes(b"\xff\xfe\x00"), "line 1 is damaged"),
    ],
)
def test_a_damaged_run_is_named_in_one_line(finished_run, tmp_path, damage, complaint):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    damage(copy)
    with pytest.raises(UserError, match=complaint):
        read_run(copy)


def test_a_damaged_probe_table_is_named(run, tmp_path):
    (tmp_path / layout.PROBES).mkdir()
    tables.CONFIDENCE.path(tmp_path).write_bytes(b"PAR1 nonsense")
    with pytest.raises(UserError, match=r"confidence.parquet is damaged"):
        _ = replace(run, path=tmp_path).confidence


def test_numbers_are_readable():
    assert [format_number(x) for x in (None, 0.123456, 12.0, 1234.5, 3)] == [
        "not reached",
        "0.1235",
        "12",
        "1,234",
        "3",
    ]
