"""Which probes suit a run, and if one does not, why."""

from typing import TYPE_CHECKING

from moefacts.runs import keys, tables

if TYPE_CHECKING:
    from moefacts.runs.reader import Run

_LEAST_COMPARED = 4  # people
_NO_MIXTURE = "its model has no mixture of experts"
_NO_CONTROL = "evaluation.interval_control is not set"
_NO_OLD_PEOPLE = "it was not fine-tuned, or evaluates no two people whom its weights had seen before"


def why_not(run: "Run", probe: str) -> str:
    """Why one of ``tables.PROBES`` does not suit a run, and what would change that; empty if it does.

    None suits a run before training ends, nor a patched run, whose weights are not the whole model. Retention is probed
    where knowledge was measured during training, too: where ``evaluation.interval_control`` is set. What
    ``tables.FINE_TUNING`` names suits a fine-tuned run with an old cohort of at least two people. To compare people who
    are trained on with people never seen takes four of either, and for routers, both evaluated. The mechanism needs two
    people, one for the other's name.
    """
    if not run.is_finished:
        advice = f"let it train to its end, or resume it: moefacts train --resume {run.path}"
        return f"it is not finished ({run.manifest['state']}); {advice}"
    if run.settings.patching.is_on:
        return "it is patched, so its weights are not the whole model; analyze the run without patching"
    model, has_control = run.settings.model, run.settings.evaluation.interval_control is not None
    has_mixture, has_strangers = model.moe is not None, bool(run.unseen_cohorts and run.shown_cohort)
    if probe == "attention":
        return "" if model.mixer == "attention" else "its model has no attention"
    if probe in ("routing", "router_detection", "rerouting") and not has_mixture:
        return _NO_MIXTURE
    if probe == "router_detection" and not has_strangers:
        return "it does not evaluate both people whom training has shown and people whom it has not"
    if probe in ("retention", "retention_at_end") and not has_control:
        return _NO_CONTROL
    if probe == "retention_at_end" and run.plateau_end is None:
        return "its plateau has not ended"
    if probe in tables.FINE_TUNING and not run.probed_cohorts:
        return _NO_OLD_PEOPLE
    if probe in ("known_person", "temperature"):
        compared = {name: len(run.people[name]) for name in (run.learned_cohort, keys.UNSEEN)}
        if min(compared.values()) < _LEAST_COMPARED:
            has = " and ".join(f"{count} {name}" for name, count in compared.items())
            return f"it compares {_LEAST_COMPARED} people or more of either kind, and there are {has}; train with more"
    if probe in ("mechanism", "emergence") and len(run.people[run.cohort]) < 2:
        return f"it puts one person's name in place of another's, and {run.cohort} is one person; train with more"
    return ""
