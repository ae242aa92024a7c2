"""Run the probes that a finished run still lacks."""

from moefacts.experiments.tasks.materials import Materials, load_run
from moefacts.probes.attention_signatures import attention_table
from moefacts.probes.retention import choose_checkpoints, retention_table
from moefacts.probes.routing import routing_tables
from moefacts.runs.layout import checkpoint_steps
from moefacts.runs.reader import Run
from moefacts.runs.tables import ATTENTION, RETENTION, RETENTION_AT_END


def probe_run(run: Run, *wanted: str) -> list[str]:
    """Write the tables of the probes that are ``wanted`` and missing, by default of all, and return their names.

    Raises:
        UserError: the run, or a checkpoint, is missing or damaged.
    """
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


# Name in ``runs.tables.PROBES`` -> function. Each leaves the model with the weights of the last checkpoint.
_PROBES = {
    "routing": _probe_routing,
    "attention": _probe_attention,
    "retention": _probe_retention,
    "retention_at_end": _probe_retention_at_end,
}
