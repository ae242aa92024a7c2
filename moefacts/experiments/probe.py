"""Runs the probes that a finished run still lacks."""

from pathlib import Path

from moefacts import run_files
from moefacts.config import read_config
from moefacts.experiments.run import load_run
from moefacts.probes.routing import write_routing


def probe_run(run: Path) -> bool:
    """Write the routing tables of a finished mixture-of-experts run, unless they are there; say whether it did.

    Raises:
        UserError: the run, or its checkpoint, is missing or damaged.
    """
    if run_files.read_manifest(run)["state"] != "finished" or read_config(run / run_files.CONFIG).model.moe is None:
        return False
    if all(run_files.routing_table(run, name).exists() for name in run_files.ROUTING_TABLES):
        return False
    _, materials = load_run(run)
    write_routing(run, materials.model, materials.batcher)
    return True
