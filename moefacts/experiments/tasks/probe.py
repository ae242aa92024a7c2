"""Run the probes that a finished run still lacks."""

from moefacts.analysis.forgetting import learning_measures, lowest_step
from moefacts.analysis.moments import moments
from moefacts.experiments.tasks.materials import Materials, load_run
from moefacts.probes.attention_signatures import attention_table
from moefacts.probes.decisions import decisions_table
from moefacts.probes.known_person import known_person_table
from moefacts.probes.mechanism.experts import experts_table
from moefacts.probes.mechanism.restored import restored_since
from moefacts.probes.mechanism.sentence import sentence_table
from moefacts.probes.mechanism.table import emergence_table, mechanism_table
from moefacts.probes.rerouting import rerouting_tables
from moefacts.probes.restored_weights import restored_tables
from moefacts.probes.retention import choose_checkpoints, retention_table
from moefacts.probes.router_detection import router_detection_table
from moefacts.probes.routing import routing_tables
from moefacts.probes.shift import shift_table
from moefacts.probes.temperature import temperature_table
from moefacts.probes.wrong_answers import wrong_answers_table
from moefacts.runs.layout import checkpoint_steps
from moefacts.runs.locks import turn_to_write
from moefacts.runs.reader import Run
from moefacts.runs.tables import (
    ATTENTION,
    DECISIONS,
    EMERGENCE,
    KNOWN_PERSON,
    MECHANISM,
    MECHANISM_EXPERTS,
    MECHANISM_RESTORED,
    MECHANISM_SENTENCE,
    RETENTION,
    RETENTION_AT_END,
    ROUTER_DETECTION,
    SHIFT,
    TEMPERATURE,
    WRONG_ANSWERS,
)
from moefacts.training.checkpoint import load_weights


def probe_run(run: Run, *wanted: str) -> list[str]:
    """Write the tables of the probes that are ``wanted`` and missing, and return their names.

    By default they are all but those of ``runs.tables.ON_REQUEST``.

    Raises:
        UserError: the run, or a checkpoint, is missing or damaged.
    """
    with turn_to_write(run.path):  # what another process has probed meanwhile is not missing any more
        missing = [probe for probe in wanted if run.lacks(probe)] if wanted else run.missing_probes
        if missing:
            _, materials = load_run(run.path)
            for probe in missing:
                _PROBES[probe](run, materials)
    return missing


def _probe_routing(run: Run, materials: Materials) -> None:
    for table, rows in routing_tables(run.path, materials.model, materials.batcher).items():
        table.write(run.path, rows)


def _probe_attention(run: Run, materials: Materials) -> None:
    ATTENTION.write(run.path, attention_table(run.path, materials.model, materials.batcher))


def _probe_retention(run: Run, materials: Materials) -> None:
    steps = choose_checkpoints(checkpoint_steps(run.path), run.plateau_end)
    RETENTION.write(run.path, retention_table(run.path, materials.model, materials.batcher, run.batch_size, steps))


def _probe_retention_at_end(run: Run, materials: Materials) -> None:
    first = choose_checkpoints(checkpoint_steps(run.path), run.plateau_end)[:1]
    table = retention_table(run.path, materials.model, materials.batcher, run.batch_size, first)
    RETENTION_AT_END.write(run.path, table)


def _probe_decisions(run: Run, materials: Materials) -> None:
    cohorts, step = run.settings.evaluation.cohorts, checkpoint_steps(run.path)[-1]
    DECISIONS.write(run.path, decisions_table(materials.model, materials.batcher, cohorts, step))


def _probe_router_detection(run: Run, materials: Materials) -> None:
    assert run.shown_cohort is not None
    found = router_detection_table(materials.model, materials.batcher, run.shown_cohort, run.unseen_cohorts)
    ROUTER_DETECTION.write(run.path, found)


def changed_steps(run: Run) -> list[int]:
    """The checkpoints at which a fine-tuned run is compared with its step 0.

    They are those nearest to the trough of each old cohort (to its lowest evaluation, if there is no fall) and to where
    half of the new people's values are known, and the last.
    """
    steps = [step for step in checkpoint_steps(run.path) if step > 0]
    half_known = learning_measures(run)["steps_to_50_new_accuracy"]
    marks = [lowest_step(run, cohort) for cohort in run.probed_cohorts]
    marks += [] if half_known is None else [half_known]
    return sorted({min(steps, key=lambda step: (abs(step - mark), step)) for mark in marks} | {steps[-1]})


def _probe_shift(run: Run, materials: Materials) -> None:
    steps = changed_steps(run)
    table = shift_table(run.path, materials.model, materials.batcher, run.probed_cohorts, steps, run.has_halves)
    SHIFT.write(run.path, table)


def _probe_restored_weights(run: Run, materials: Materials) -> None:
    found = restored_tables(run.path, materials.model, materials.batcher, run.probed_cohorts, changed_steps(run))
    for table, rows in found.items():
        table.write(run.path, rows)


def _probe_wrong_answers(run: Run, materials: Materials) -> None:
    cohorts, steps = [*run.probed_cohorts, run.learned_cohort], checkpoint_steps(run.path)
    WRONG_ANSWERS.write(run.path, wrong_answers_table(run.path, materials.model, materials.batcher, cohorts, steps))


def _probe_rerouting(run: Run, materials: Materials) -> None:
    found = rerouting_tables(run.path, materials.model, materials.batcher, run.probed_cohorts, changed_steps(run))
    for table, rows in found.items():
        table.write(run.path, rows)


def _probe_known_person(run: Run, materials: Materials) -> None:
    KNOWN_PERSON.write(run.path, known_person_table(materials.model, materials.batcher))


def _probe_temperature(run: Run, materials: Materials) -> None:
    TEMPERATURE.write(run.path, temperature_table(materials.model, materials.batcher))


def moments_of(run: Run) -> list[int]:
    """The checkpoints whose mechanism is measured: those nearest to the plateau's start and to its end, and the last.

    Of a fine-tuned run they are the first and the last.
    """
    return sorted(set(moments(run, checkpoint_steps(run.path)).values()))


def _probe_mechanism(run: Run, materials: Materials) -> None:
    others = [name for name in run.cohorts if name in run.people and len(run.people[name]) > 1 and name != run.cohort]
    cohorts = [run.cohort, *others]
    model, batcher, steps = materials.model, materials.batcher, moments_of(run)
    written = {  # earlier versions wrote some of them
        MECHANISM: lambda: mechanism_table(run.path, model, batcher, steps, cohorts),
        MECHANISM_SENTENCE: lambda: sentence_table(run.path, model, batcher, steps, run.cohort),
        MECHANISM_EXPERTS: lambda: experts_table(model, batcher, run.cohort),
        MECHANISM_RESTORED: lambda: restored_since(run.path, model, batcher, steps, run.cohort),
    }
    for table, measured in written.items():
        if not table.path(run.path).exists():
            load_weights(run.path, steps[-1], model)
            table.write(run.path, measured())


def _probe_emergence(run: Run, materials: Materials) -> None:
    steps = checkpoint_steps(run.path)
    table = emergence_table(run.path, materials.model, materials.batcher, steps, run.cohort)
    EMERGENCE.write(run.path, table)


# Name in ``runs.tables.PROBES`` -> function. Each leaves the model with the weights of the last checkpoint.
_PROBES = {
    "routing": _probe_routing,
    "attention": _probe_attention,
    "retention": _probe_retention,
    "retention_at_end": _probe_retention_at_end,
    "decisions": _probe_decisions,
    "router_detection": _probe_router_detection,
    "shift": _probe_shift,
    "restored_weights": _probe_restored_weights,
    "wrong_answers": _probe_wrong_answers,
    "rerouting": _probe_rerouting,
    "known_person": _probe_known_person,
    "temperature": _probe_temperature,
    "mechanism": _probe_mechanism,
    "emergence": _probe_emergence,
}
