"""Run the probes that a finished run still lacks."""

from pathlib import Path

from moefacts.experiments.tasks.materials import Materials, load_run
from moefacts.probes.attention_signatures import attention_table
from moefacts.probes.routing import routing_tables
from moefacts.runs.reader import Run
from moefacts.runs.tables import ATTENTION


def probe_run(run: Run, *wanted: str) -> list[str]:
    """Write the tables of the missing probes, or of those of them that are ``wanted``, and return their names.

    Raises:
        UserError: the run, or a checkpoint, is missing or damaged.
    """
    missing = [probe for probe in run.missing_probes if not wanted or probe in wanted]
    if missing:
        _, materials = load_run(run.path)
        for probe in missing:
            _PROBES[probe](run.path, materials)
    return missing


def _probe_routing(run: Path, materials: Materials) -> None:
    for table, rows in routing_tables(run, materials.model, materials.batcher).items():
        table.write(run, rows)


def _probe_attention(run: Path, materials: Materials) -> None:
    ATTENTION.write(run, attention_table(run, materials.model, materials.batcher))


# Name in ``runs.tables.PROBES`` -> function. Each leaves the model with the weights of the last checkpoint.
_PROBES = {"routing": _probe_routing, "attention": _probe_attention}
