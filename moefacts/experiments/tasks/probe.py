"""Run the probes that a finished run still lacks."""

from moefacts.experiments.tasks.materials import Materials, load_run
from moefacts.probes.attention_signatures import attention_table
from moefacts.probes.retention import retention_table
from moefacts.probes.routing import routing_tables
from moefacts.runs.locks import turn_to_write
from moefacts.runs.reader import Run
from moefacts.runs.tables import ATTENTION, RETENTION


def probe_run(run: Run, *wanted: str) -> list[str]:
    """Write the tables of the missing probes, or of those of them that are ``wanted``, and return their names.

    Raises:
        UserError: the run, or a checkpoint, is missing or damaged.
    """
    with turn_to_write(run.path):  # what another process has probed meanwhile is not missing any more
        missing = [probe for probe in run.missing_probes if not wanted or probe in wanted]
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
    plateau_end = run.manifest.get("plateau_end")
    table = retention_table(run.path, materials.model, materials.batcher, run.batch_size, plateau_end)
    RETENTION.write(run.path, table)


# Name in ``runs.tables.PROBES`` -> function. Each leaves the model with the weights of the last checkpoint.
_PROBES = {"routing": _probe_routing, "attention": _probe_attention, "retention": _probe_retention}
