import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from moefacts.analysis.figures import FIGURES, draw_figures
from moefacts.analysis.groups import group_by_seed
from moefacts.analysis.report import write_report
from moefacts.analysis.summary import (
    MEANINGS,
    Estimate,
    as_json,
    cell,
    estimate,
    format_number,
    meanings,
    measure_run,
    summarize_group,
)
from moefacts.errors import UserError
from moefacts.runs import layout, tables
from moefacts.runs.reader import Run, read_run


@pytest.fixture
def run(finished_run) -> Run:
    return read_run(finished_run)


def with_curve(run, seed, shift=0, **settings):
    """A copy of the run with made-up evaluations, whose phases are known."""
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
    assert (result.count, result.missing, result.values) == (3, 1, (1.0, 2.0, 4.0))
    assert estimate([3.0]).low is None
    assert estimate([None, None]) is None


def test_a_measured_run_has_every_measure(run):
    assert set(MEANINGS) <= set(measure_run(run))


def test_phases_of_a_made_up_curve_come_out_in_the_json(run):
    made_up = with_curve(run, 0)
    result = as_json(group_by_seed([made_up]))
    crossing = 400 + (2.9 - 0.99 * run.baseline) / 0.01
    assert result["plateau_end_interpolated"] == pytest.approx(crossing, abs=25)
    assert result["plateau_start_low"] < result["plateau_start"] < result["plateau_start_high"] == 50
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
    assert "uPlot" in page  # curves over training steps
    data = re.findall(r'<script type="application/json">(.*?)</script>', page)
    losses = json.loads(data[0])[0]["series"]
    assert [one["is_seed"] for one in losses][:3] == [True, True, False]
    assert losses[0]["values"][:2] == pytest.approx(runs[0].curve("attribute_loss").iloc[:2], rel=1e-4)
    assert losses[0]["steps"] == runs[0].curve("attribute_loss").index.tolist()
    assert run.manifest["command"] in page.replace("&#39;", "'")
    assert all(key in page for key in MEANINGS)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda run: (run / layout.MANIFEST).unlink(), "has no manifest.json"),
        (lambda run: (run / layout.MANIFEST).write_text("{"), "is damaged"),
        (lambda run: (run / layout.MANIFEST).write_text('{"state": "ok"}'), "state: got 'ok', expected 'running'"),
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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not reached"), (0.123456, "0.1235"), (3, "3"), (9.0, "9"), (10.0, "10"), (10, "10"), (12.0, "12"),
        (12.5, "12.5"), (-10.0, "-10"), (-0.5, "-0.5"), (999.96, "1000"), (1000, "1,000"), (1000.6, "1,001"),
        (1234.5, "1,234"), (-1234.6, "-1,235"), (123456.0, "123,456"),
    ],
)  # fmt: skip
def test_numbers_are_readable(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Estimate(2.5, None, None, 1, 0, (2.5,)), "2.5"),
        (Estimate(2.5, 2.0, 3.0, 3, 0, (2.3, 2.5, 2.7)), "2.50 ± 0.50"),
        (Estimate(40.0, 40.0, 40.0, 3, 0, (40.0,) * 3), "40 (all equal)"),
        (Estimate(2.5, 2.0, 3.0, 3, 1, (2.3, 2.5, 2.7)), "2.50 ± 0.50 (1 of 4 not reached)"),
        (Estimate(2.5, None, None, 1, 2, (2.5,)), "2.5 (2 of 3 not reached)"),
        (estimate([172.0, 188.0]), "172, 188"),  # not 180 ± 102
        (estimate([172.0, None, 172.0]), "172, 172 (1 of 3 not reached)"),
    ],
)
def test_an_estimate_stands_in_a_table_with_half_its_interval_or_fewer_than_three_values_and_what_it_lacks(given, text):
    assert given.text() == cell("plateau_end", given) == text


def test_a_cell_without_an_estimate_says_why():
    assert cell("unseen_auroc", None) == "not measured"  # the probe is written when training ends
    assert cell("plateau_end", None) == "not reached"


def test_the_json_names_every_run_and_passes_the_threshold_on(run):
    runs = [with_curve(run, 0), with_curve(run, 1, shift=100)]
    usual, lower = as_json(group_by_seed(runs)), as_json(group_by_seed(runs), threshold=0.5)
    for entry, made in zip(usual["runs"], runs, strict=True):
        assert (entry["path"], entry["seed"], entry["state"]) == (str(made.path), made.seed, "finished")
        assert entry["parameters"] == made.manifest["parameters"]
    assert [group["label"] for group in usual["groups"]] == ["dense_laptop"]
    assert usual["groups"][0]["runs"] == [str(made.path) for made in runs]
    assert {entry["plateau_threshold"] for entry in lower["runs"]} == {0.5}
    assert lower["groups"][0]["measures"]["plateau_end"]["mean"] > usual["groups"][0]["measures"]["plateau_end"]["mean"]
    assert usual["groups"][0]["measures"]["unseen_auroc"] is not None
    (alone,) = as_json(group_by_seed(runs[:1]))["runs"]
    assert alone["plateau_end"] == usual["runs"][0]["plateau_end"]


def test_a_further_cohort_has_its_last_loss_and_accuracy_and_their_meaning(run):
    made = with_curve(run, 0)
    for record in made.records:
        for measure, value in (("attribute_loss", record["step"] / 100), ("attribute_accuracy", 0.25)):
            record[f"eval/old/{measure}"] = value
    (group,) = group_by_seed([made])
    measures = summarize_group(group)
    assert measures["old_final_attribute_loss"].mean == 10.0
    assert measures["old_final_attribute_accuracy"].mean == 0.25
    assert measures.keys() == meanings([group]).keys()
    assert meanings([group])["old_final_attribute_loss"] == "attribute loss of the cohort old at its last evaluation"
    assert "seen_final_attribute_loss" not in measures
