"""The scenarios of the plateau law, with one learning rate and with several."""

import numpy as np

from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.plateau_law import published
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, texts
from tests.experiments.studies.made_up import made_up_run

SIZES = (1024, 2048, 4096, 8192, 16384)
NUM_SEEDS = 3


def cases(study):
    """The cases of ``study``. Its seeds are shared over sizes or not, and it has one learning rate or several."""
    rate = next((run.labels["learning_rate"] for run in study.grids["laptop"] if "learning_rate" in run.labels), None)

    def runs(end, sizes=SIZES, scatter=0.01, seeds=NUM_SEEDS, shared=True, last=None):
        """``end(size)`` is where plateaus end; seeds are ``scatter`` apart in logs, each in its own order of sizes."""
        made = []
        for place, size in enumerate(sizes):
            for seed in range(seeds):
                leaves = end(size) * np.exp(scatter * (((2 * place + 1) * seed + place) % 3 - 1))
                interval = max(1, int(end(size) / 12))
                settings = (f"evaluation.interval={interval}", f"evaluation.interval_unseen={100 * interval}")
                labels = {"size": size} | ({} if rate is None else {"learning_rate": rate})
                name = seed if shared else 100 * size + seed
                shape = {"start": end(size) / 5, "slope": 5 / end(size), "last": last, "seed": name}
                made.append(made_up_run(GridRun(settings, labels=labels), leaves, **shape))
        return made

    def law(b, a=0.43):
        return lambda size: a * (1000 / 128) * size**b  # of the size in the laptop's unit, long enough to be evaluated

    def wavy(size):
        return law(0.8)(size) * (1.5 if SIZES.index(size) % 2 else 0.7)

    def ends(factor=1.0, **shape):
        return lambda: runs(lambda size: factor * published.ENDS[size], tuple(published.ENDS), **shape)

    is_law, sublinear, exponent = texts(study)
    prefactor, same_ends = texts(study, "paper")[3:]
    near = "sizes inside the law"
    return [
        Case(HOLDS, lambda: runs(law(0.81)), (is_law, sublinear, exponent)),
        Case(HOLDS, lambda: runs(law(0.81), shared=False), (is_law, sublinear, exponent)),
        Case(HOLDS, lambda: runs(law(0.81), scatter=0, seeds=1), (is_law, sublinear, exponent)),
        Case(DOES_NOT_HOLD, lambda: runs(wavy), (is_law,)),
        Case(DOES_NOT_HOLD, lambda: runs(law(1.3, 0.01)), (sublinear, exponent)),
        Case(TOO_SHORT, lambda: runs(law(0.81), last=100), (is_law,), near),
        Case(TOO_SHORT, lambda: runs(law(0.81), last=100), (sublinear, exponent), "no fit"),
        Case(TOO_NOISY, lambda: runs(law(0.81), scatter=0.28), (is_law,)),
        Case(TOO_NOISY, lambda: runs(law(0.81), scatter=0.8), (exponent,)),
        Case(TOO_NOISY, lambda: runs(law(0.97), scatter=0.28), (sublinear,)),
        Case(TOO_NOISY, lambda: runs(law(0.81), SIZES[:4]), (is_law,), "only 4 sizes inside the law"),
        Case(TOO_NOISY, lambda: runs(law(0.81), SIZES[:2]), (sublinear, exponent), "no fit"),
        Case(HOLDS, ends(), (prefactor, same_ends), scale="paper"),
        Case(DOES_NOT_HOLD, ends(4), (prefactor, same_ends), scale="paper"),
        Case(TOO_SHORT, ends(last=100), (prefactor,), "no fit", scale="paper"),
        Case(TOO_SHORT, ends(last=100), (same_ends,), "only 0 of the published sizes", scale="paper"),
        Case(TOO_NOISY, ends(scatter=1.0), (prefactor,), scale="paper"),
        Case(TOO_NOISY, ends(scatter=0.5), (same_ends,), scale="paper"),
        Case(TOO_NOISY, ends(seeds=1), (same_ends,), "with two seeds", scale="paper"),
    ]  # fmt: skip
