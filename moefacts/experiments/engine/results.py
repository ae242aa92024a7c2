"""From finished runs to verdicts and the files of a study: results.json, runs.csv, figures and report.html.

Everything in ``results.json`` except the keys ``timing`` is a function of the runs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pandas as pd

from moefacts import __version__
from moefacts.analysis.figures import draw_study_figures
from moefacts.analysis.study_report import StudyPage, write_study_report
from moefacts.analysis.summary import measure_run
from moefacts.errors import UserError
from moefacts.experiments.engine.grid import ELSEWHERE, HALF_DONE, UNDECIDABLE, UNDECIDED, Plan, study_command
from moefacts.experiments.engine.many_claims import judged_together
from moefacts.experiments.engine.simulations import CURVES_TABLE, curves, read_simulations
from moefacts.experiments.engine.study import Findings, FinishedRun, FinishedSimulation
from moefacts.runs import keys, layout
from moefacts.runs.durable import write_durably
from moefacts.runs.locks import turn_to_write
from moefacts.runs.manifest import FAILED, FINISHED, read_manifest
from moefacts.runs.reader import read_run

RESULTS, RUNS_TABLE = "results.json", "runs.csv"


def read_finished(plan: Plan) -> tuple[list[FinishedRun], list[dict[str, str]]]:
    """The finished runs at every place of the grid, and the name, state and log of every other run."""
    measured: dict[Any, tuple] = {}
    missing = []
    states, labels = {planned.path: planned.state for planned in plan.distinct()}, plan.varied_labels()
    for planned in plan.distinct():
        state = planned.state
        log = str(planned.log) if state in (FAILED, HALF_DONE) and planned.log.exists() else ""
        if state == FINISHED:
            try:
                run = read_run(planned.path)
                run.check_tables(*plan.study.probes)
                measured[planned.path] = (run, run_measures(run))
                continue
            except UserError as error:
                state, log = f"damaged: {error}", ""
        elif state == FAILED and (planned.path / layout.MANIFEST).exists():
            try:
                read_manifest(planned.path)
            except UserError as error:
                state, log = f"damaged: {error}", ""
        if planned.state in (UNDECIDED, UNDECIDABLE) and (which := labels.get(planned.path)):
            state += f" for {which}"  # its name does not say which one it is
        if planned.reason:
            state += f": {planned.reason}"
        waits_for = [path.name for path in planned.needs if states[path] != FINISHED]
        if waits_for and planned.state != FINISHED:
            state += f"; it needs {', '.join(waits_for)} first"
        missing.append({"run": planned.path.name, "state": state, "log": log})
    finished = [FinishedRun(p.grid_run.labels, *measured[p.path]) for p in plan.runs if p.path in measured]
    return finished, missing


def run_measures(run) -> dict[str, Any]:
    """All measures of a run, with its parameter counts and speed."""
    counts = run.manifest["parameters"]
    training = run.training
    speed = keys.TOKENS_PER_SECOND
    return measure_run(run) | {
        "parameters_total": counts["total"],
        "parameters_active": counts["active"],
        "parameters_non_embedding": counts["non_embedding"],
        "tokens": run.manifest.get("tokens"),
        "timing": {
            "wall_seconds": run.manifest.get("wall_seconds"),
            "tokens_per_second": float(training[speed].median()) if speed in training else None,
        },
    }


def write_results(plan: Plan) -> StudyPage:
    """Examine the runs that are finished by now, decide every claim, write the study's files, and return its page.

    Of several processes that reproduce the study, the last to end writes the results of all runs.

    Raises:
        UserError: no run is finished yet.
    """
    with turn_to_write(plan.out) if plan.out.exists() else nullcontext():
        return _write_results(plan.refreshed())


def left_to_others(plan: Plan, missing: Sequence[Mapping[str, str]]) -> str:
    """One line about those of ``missing`` that another process trains or simulates; empty if there are none."""
    number = sum(one["state"] == ELSEWHERE for one in missing)
    noun = "run" if plan.runs else "simulation"
    which = f"1 {noun} is" if number == 1 else f"{number} {noun}s are"
    if not number:
        return ""
    return (
        f"{plan.study.name} in {plan.out}: {which} left to another process, which is at work; the same command reports "
        "the whole study when that has ended"
    )


def _write_results(plan: Plan) -> StudyPage:
    runs, missing = read_finished(plan)
    simulations, missing_too = read_simulations(plan)
    finished: list[FinishedRun | FinishedSimulation] = [*runs, *simulations]
    missing += missing_too
    if not finished:
        if left := left_to_others(plan, missing):
            raise UserError(left)
        first = f", the first is {missing[0]['run']}: {missing[0]['state']}" + (
            f", log {missing[0]['log']}" * bool(missing[0]["log"])
        )
        raise UserError(f"no run of {plan.study.name} is finished in {plan.out}; runs missing: {len(missing)}{first}")
    findings = plan.study.examine(finished)
    result = _result(plan, finished, missing, findings)
    drawings = draw_study_figures(findings.figures, plan.out / layout.FIGURES)
    page = StudyPage(result, findings.tables, drawings)
    text = json.dumps(_plain(result), indent=2) + "\n"
    write_durably(plan.out / RESULTS, text.encode())
    table = pd.json_normalize([{k: v for k, v in row.items() if k != "command"} for row in result["runs"]])
    write_durably(plan.out / RUNS_TABLE, table.to_csv(index=False).encode())
    if simulations:
        write_durably(plan.out / CURVES_TABLE, curves(simulations).to_csv(float_format="%.6g").encode())
    write_study_report([page], plan.out / layout.REPORT)
    return page


def _result(
    plan: Plan, finished: Sequence[FinishedRun | FinishedSimulation], missing: list[dict], findings: Findings
) -> dict[str, Any]:
    claims = []
    for claim in plan.study.claims[plan.scale]:
        verdict = claim.decide(findings.evidence)
        row: dict[str, Any] = {"claim": claim.text, "published": claim.published, "here": verdict.here}
        row |= {"published_value": claim.published_value} if claim.published_value is not None else {}
        row |= {"unit": vars(claim.unit)} if claim.unit is not None else {}
        row |= {"value": verdict.value, "interval": verdict.interval, "p_value": verdict.p_value}
        row |= {"verdict": verdict.answer, "rule": claim.rule}
        claims.append(row)
    first = finished[0].record.manifest
    return {
        "study": plan.study.name,
        "title": plan.study.title,
        "figure": plan.study.figure,
        "scale": plan.scale,
        "complete": not missing,
        "missing": missing,
        **findings.values,
        "claims": claims,
        "judged_together": judged_together(claims),
        "runs": [
            {"run": run.record.path.name, **run.labels, "seed": run.seed, **run.measures}
            | {"command": run.record.manifest["command"]}
            for run in finished
        ],
        "command": study_command(plan),
        "device": first["device"],
        "git_commits": sorted({commit for run in finished if (commit := run.record.manifest.get("git_commit"))}),
        "versions": {**first["versions"], "moefacts": __version__},
        "timing": {
            "wall_seconds_of_all_runs": sum(
                {run.record.path: run.measures["timing"]["wall_seconds"] or 0 for run in finished}.values()
            )
        },
    }


def _plain(value: Any) -> Any:
    """The value in types that JSON can hold; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
