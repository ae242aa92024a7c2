"""What a study writes when some of its runs are finished: which runs are examined, and what its files hold."""

import csv
import json

import numpy as np
import pytest

from moefacts import __version__
from moefacts.analysis.summary import measure_run
from moefacts.analysis.table import Table
from moefacts.errors import UserError
from moefacts.experiments.engine.grid import ELSEWHERE, TO_DO
from moefacts.experiments.engine.results import _plain, read_finished, run_measures, study_command, write_results
from moefacts.experiments.engine.study import Findings, GridRun, Study
from moefacts.experiments.engine.verdict import Claim, Verdict
from moefacts.runs import layout
from moefacts.runs.manifest import FAILED, FINISHED
from moefacts.runs.reader import read_run
from moefacts.runs.tables import ATTENTION
from tests.experiments.engine.run_folders import LEARNT, plan_of, planned, study_of, write_run


def finished(path, *overrides, labels=None, **entries):
    run = planned(path, *overrides, state=FINISHED, labels=labels)
    write_run(path, run.config, **entries)
    return run


def test_a_finished_run_is_examined_at_all_its_places_and_read_once(tmp_path):
    one = finished(tmp_path / "one", "seed=1", labels={"arm": "a"})
    two = finished(tmp_path / "two", "seed=2", labels={"arm": "b"})
    again = planned(one.path, "seed=1", state=FINISHED, labels={"arm": "c"})
    runs, missing = read_finished(plan_of(one, two, again, out=tmp_path))
    assert [(run.labels["arm"], run.seed, run.record.path) for run in runs] == [
        ("a", 1, one.path), ("b", 2, two.path), ("c", 1, one.path),
    ]  # fmt: skip
    assert runs[0].record is runs[2].record
    assert runs[0].measures == run_measures(runs[0].record)
    assert missing == []


def test_a_run_that_is_finished_when_the_results_are_written_is_in_them(tmp_path):
    """Another process finished it after the plan was made. Its own results are not replaced by incomplete ones."""
    meanwhile = planned(tmp_path / "meanwhile", state=ELSEWHERE)
    write_run(meanwhile.path, meanwhile.config)
    page = write_results(plan_of(finished(tmp_path / "one"), meanwhile, out=tmp_path))
    assert page.result["complete"]


def test_what_is_needed_is_not_examined_but_missed(tmp_path):
    needed, absent = finished(tmp_path / "needed"), planned(tmp_path / "absent")
    runs, missing = read_finished(plan_of(finished(tmp_path / "a"), out=tmp_path, prerequisites=(needed, absent)))
    assert [run.record.path.name for run in runs] == ["a"]
    assert missing == [{"run": "absent", "state": TO_DO, "log": ""}]


def test_a_missing_run_has_its_state_and_a_failed_one_its_log(tmp_path):
    failed, unlogged, to_do = (
        planned(tmp_path / name, state=state) for name, state in (("f", FAILED), ("u", FAILED), ("t", TO_DO))
    )
    failed.log.parent.mkdir()
    failed.log.touch()
    to_do.log.touch()  # of an earlier session
    broken = finished(tmp_path / "broken")
    (broken.path / layout.METRICS).write_text("nonsense\n")
    broken.log.touch()
    runs, missing = read_finished(plan_of(failed, unlogged, to_do, broken, finished(tmp_path / "whole"), out=tmp_path))
    assert len(runs) == 1
    assert missing[:3] == [
        {"run": "f", "state": FAILED, "log": str(failed.log)},
        {"run": "u", "state": FAILED, "log": ""},
        {"run": "t", "state": TO_DO, "log": ""},
    ]
    assert (missing[3]["run"], missing[3]["log"]) == ("broken", "")
    assert missing[3]["state"].startswith("damaged: ")
    assert "line 1" in missing[3]["state"]


def test_a_run_says_which_of_those_that_it_needs_it_waits_for(tmp_path):
    done = finished(tmp_path / "done")
    failed, to_do = planned(tmp_path / "failed", state=FAILED), planned(tmp_path / "to-do")
    needs = (done.path, failed.path, to_do.path)
    waits, ready = planned(tmp_path / "waits", needs=needs), planned(tmp_path / "ready", needs=(done.path,))
    _, missing = read_finished(plan_of(waits, ready, out=tmp_path, prerequisites=(done, failed, to_do)))
    states = {run["run"]: run["state"] for run in missing}
    assert states == {
        "failed": FAILED,
        "to-do": TO_DO,
        "waits": f"{TO_DO}; it needs failed, to-do first",
        "ready": TO_DO,
    }


def test_a_finished_run_counts_although_what_it_needed_is_gone(tmp_path):
    run = planned(tmp_path / "run", state=FINISHED, needs=(tmp_path / "gone",))
    write_run(run.path, run.config)
    runs, missing = read_finished(plan_of(run, out=tmp_path, prerequisites=(planned(tmp_path / "gone"),)))
    assert (len(runs), [one["run"] for one in missing]) == (1, ["gone"])
    (run.path / layout.METRICS).unlink()
    _, missing = read_finished(plan_of(run, out=tmp_path, prerequisites=(planned(tmp_path / "gone"),)))
    assert missing[1]["state"] == f"damaged: {run.path} has no {layout.METRICS}"  # it waits for nothing


def test_the_measures_of_a_run_come_with_its_size_tokens_and_speed(tmp_path):
    run = finished(tmp_path / "run", tokens=1234, wall_seconds=5.5)
    speeds = [{"step": step, "train/loss": 1.0, "throughput/tokens_per_second": s} for step, s in enumerate((1, 7, 9))]
    evaluated = [record for record in LEARNT.records if "train/loss" not in record]
    in_order = sorted([*evaluated, *speeds], key=lambda record: record["step"])
    (run.path / layout.METRICS).write_text("".join(json.dumps(record) + "\n" for record in in_order))
    record = read_run(run.path)
    measures = run_measures(record)
    counts = record.manifest["parameters"]
    assert measures == measure_run(record) | {
        "parameters_total": counts["total"],
        "parameters_active": counts["active"],
        "parameters_non_embedding": counts["non_embedding"],
        "tokens": 1234,
        "timing": {"wall_seconds": 5.5, "tokens_per_second": 7.0},
    }


def test_what_an_early_version_did_not_record_is_none(tmp_path):
    run = finished(tmp_path / "run")
    records = [{k: v for k, v in record.items() if not k.startswith("throughput")} for record in LEARNT.records]
    (run.path / layout.METRICS).write_text("".join(json.dumps(record) + "\n" for record in records))
    measures = run_measures(read_run(run.path))
    assert (measures["tokens"], measures["timing"]) == (None, {"wall_seconds": None, "tokens_per_second": None})


@pytest.fixture
def written(tmp_path):
    """A study of three places and two runs with one run missing, written: its page, its JSON and its folder."""
    one = finished(tmp_path / "one", "seed=1", labels={"arm": "a"}, wall_seconds=2.0, git_commit="bbb", device="gpu")
    two = finished(tmp_path / "two", "seed=2", labels={"arm": "b"}, wall_seconds=3.0, git_commit="aaa", command="again")
    plan = plan_of(
        one, two, one, planned(tmp_path / "three"), out=tmp_path / "out", study=STUDY, overrides=("x='a b'",)
    )
    page = write_results(plan)
    return page, json.loads((plan.out / "results.json").read_text()), plan.out


def examine_seeds(runs):
    numbers = {
        "mean": np.float64(1.5),
        "count": np.int64(2),
        "none": float("nan"),
        "most": np.inf,
        7: (np.bool_(True),),
    }
    return Findings({"numbers": numbers}, [Table("Seeds", ["seed"], [["41"]])], {}, [run.seed for run in runs])


def decide_highest(seeds):
    return Verdict("holds", f"up to {max(seeds)}", max(seeds), (min(seeds), max(seeds)), 0.01)


STUDY = Study(
    "made-up", "made-up title", "Figure 0", {"laptop": ()},
    {"laptop": (Claim("seeds are high", "very high", "highest", decide_highest),
                Claim("nobody knows", "none", "never", lambda seeds: Verdict("cannot tell", "–"))),
     "paper": ()}, examine_seeds,
)  # fmt: skip


def test_the_results_say_what_was_studied_decided_and_missed(written):
    _, found, _ = written
    assert {key: found[key] for key in ("study", "title", "figure", "scale", "complete", "missing")} == {
        "study": "made-up",
        "title": "made-up title",
        "figure": "Figure 0",
        "scale": "laptop",
        "complete": False,
        "missing": [{"run": "three", "state": TO_DO, "log": ""}],
    }
    assert found["claims"] == [
        {"claim": "seeds are high", "published": "very high", "here": "up to 2", "value": 2, "interval": [1, 2],
         "p_value": 0.01, "verdict": "holds", "rule": "highest"},
        {"claim": "nobody knows", "published": "none", "here": "–", "value": None, "interval": None,
         "p_value": None, "verdict": "cannot tell", "rule": "never"},
    ]  # fmt: skip
    assert found["judged_together"]["not_included"] == ["nobody knows"]
    assert found["command"] == """moefacts reproduce made-up --scale laptop 'x='"'"'a b'"'"''"""


def test_the_results_list_every_place_with_its_labels_measures_and_command(written):
    _, found, _ = written
    assert [(run["run"], run["arm"], run["seed"], run["command"]) for run in found["runs"]] == [
        ("one", "a", 1, "moefacts train"), ("two", "b", 2, "again"), ("one", "a", 1, "moefacts train"),
    ]  # fmt: skip
    assert found["runs"][0]["final_attribute_loss"] == pytest.approx(measure_run(LEARNT)["final_attribute_loss"])


def test_the_results_say_where_they_come_from_and_a_run_at_two_places_took_its_time_once(written):
    _, found, _ = written
    assert found["git_commits"] == ["aaa", "bbb"]
    assert found["device"] == "gpu"
    assert found["versions"]["moefacts"] == __version__
    assert found["timing"] == {"wall_seconds_of_all_runs": 5.0}


def test_numbers_of_numpy_are_numbers_and_what_is_not_finite_is_null(written):
    _, found, _ = written
    assert found["numbers"] == {"mean": 1.5, "count": 2, "none": None, "most": None, "7": [True]}


def test_the_table_of_runs_has_a_column_for_every_label_and_measure(written):
    _, found, out = written
    with (out / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["arm"], row["seed"], row["timing.wall_seconds"]) for row in rows] == [
        ("one", "a", "1", "2.0"), ("two", "b", "2", "3.0"), ("one", "a", "1", "2.0"),
    ]  # fmt: skip
    assert set(rows[0]) == {key for key in found["runs"][0] if key not in ("command", "timing")} | {
        "timing.wall_seconds", "timing.tokens_per_second",
    }  # fmt: skip


def test_the_page_has_the_claims_and_tables_and_is_written_beside_the_results(written):
    page, found, out = written
    assert _plain(page.result) == found
    assert [table.title for table in page.tables] == ["Seeds"]
    text = (out / layout.REPORT).read_text()
    assert all(part in text for part in ("made-up title", "seeds are high", "up to 2", "41", "three"))
    assert found["judged_together"]["text"] in text
    assert sorted(path.name for path in out.iterdir()) == ["figures", "report.html", "results.json", "runs.csv"]
    assert (out / "results.json").read_text().count("\n") > 50  # lines that a person can compare


def test_figures_of_the_findings_are_on_the_page_and_in_files(tmp_path):
    from matplotlib.figure import Figure

    def draw():
        figure = Figure()
        figure.add_subplot().plot([1, 2])
        return figure

    run = finished(tmp_path / "run")
    study = Study(
        "made-up", "runs", "Figure 0", {}, {"laptop": ()}, lambda runs: Findings({}, [], {"line": ("A line.", draw)}, 0)
    )
    page = write_results(plan_of(run, out=tmp_path / "out", study=study))
    assert [drawing.caption for drawing in page.drawings] == ["A line."]
    assert "A line." in (tmp_path / "out" / layout.REPORT).read_text()
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} == {"line.png", "line.pdf", "line.svg"}


def test_with_all_runs_the_results_are_complete_and_are_written_over_those_of_before(tmp_path):
    plan = plan_of(finished(tmp_path / "run", "seed=3"), out=tmp_path)
    (tmp_path / "results.json").write_text("old")
    write_results(plan)
    found = json.loads((tmp_path / "results.json").read_text())
    assert (found["complete"], found["missing"], found["seeds"]) == (True, [], [3])
    assert found["git_commits"] == []  # a run outside a repository has none
    assert found["timing"] == {"wall_seconds_of_all_runs": 0}


def test_without_a_finished_run_nothing_is_written_and_the_first_reason_told(tmp_path):
    failed = planned(tmp_path / "failed", state=FAILED)
    write_run(failed.path, failed.config, state=FAILED)
    failed.log.parent.mkdir()
    failed.log.touch()
    with pytest.raises(
        UserError,
        match=f"no run of made-up is finished in {tmp_path}/out; runs missing: 2, the first is failed: failed, log .*log$",
    ):
        write_results(plan_of(failed, planned(tmp_path / "to do"), out=tmp_path / "out"))
    with pytest.raises(UserError, match="to do: to do$"):
        write_results(plan_of(planned(tmp_path / "to do"), failed, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_command_of_a_study_has_its_scale_and_overrides(tmp_path):
    plan = plan_of(out=tmp_path, study=study_of(GridRun(())), scale="paper", overrides=("a=1", "b=[1, 2]"))
    assert study_command(plan) == "moefacts reproduce made-up --scale paper a=1 'b=[1, 2]'"


def test_a_run_whose_manifest_or_table_is_damaged_is_missing_with_the_reason_and_the_others_are_examined(tmp_path):
    study = study_of(GridRun(()), probes=("attention",))
    runs = {name: finished(tmp_path / name) for name in ("whole", "typed", "table")}
    manifest = runs["typed"].path / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace('"state": "finished"', '"tokens": "many", "state": "finished"'))
    table = ATTENTION.path(runs["table"].path)
    table.parent.mkdir()
    table.write_bytes(b"PAR1")
    plan = plan_of(*runs.values(), out=tmp_path / "out", study=study).refreshed()
    found, missing = read_finished(plan)
    assert [run.record.path.name for run in found] == ["whole"]
    states = {run["run"]: run["state"] for run in missing}
    assert states["typed"] == f"damaged: {manifest}: tokens: got 'many', expected a valid integer"
    assert states["table"].startswith(f"damaged: {table} is damaged and cannot be read")
