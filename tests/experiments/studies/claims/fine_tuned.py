"""Made-up runs that start from others: old accuracy falls to a level while new accuracy rises."""

from dataclasses import replace

import numpy as np

from tests.experiments.studies.made_up import made_up_run

BEFORE = 0.95


def fine_tuned_run(grid_run, kept, new=400.0, last=1600, more=None):
    """A run that keeps ``kept`` of old accuracy once all of the new values are known, after ``new`` steps.

    ``more`` is the share of the old values that are known when half of the new are, ``kept`` if it is None.
    """
    started = replace(grid_run, overrides=(*grid_run.overrides, "init.run=x", "init.step=1", "init.source=y"))

    def known(step):
        old = BEFORE * np.interp(step, [0, new / 4, new], [1, kept if more is None else more, kept])
        shares = {"seen": old, "new_128": min(1.0, step / new), "unseen": 0.01}
        values = {f"eval/{name}/attribute_accuracy": float(one) for name, one in shares.items()}
        return values | {f"eval/{name}/attribute_loss": 5 * (1 - float(one)) for name, one in shares.items()}

    run = made_up_run(started, 400.0, last=last, extra=known)
    run.record.manifest["seen_before"] = [[0, 512]]
    return run
