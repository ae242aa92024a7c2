"""Runs the probes that a finished run still lacks."""

from moefacts.analysis.runs import Run
from moefacts.experiments.run import load_run
from moefacts.probes.attention import write_attention
from moefacts.probes.routing import write_routing


def probe_run(run: Run, *wanted: str) -> list[str]:
    """Write the tables of ``run.missing_probes``, or those of them that are wanted; return which these were.

    Raises:
        UserError: the run, or a checkpoint, is missing or damaged.
    """
    missing = [probe for probe in run.missing_probes if not wanted or probe in wanted]
    if missing:
        _, materials = load_run(run.path)
        if "routing" in missing:
            write_routing(run.path, materials.model, materials.batcher)
        if "attention" in missing:
            write_attention(run.path, materials.model, materials.batcher)
    return missing
