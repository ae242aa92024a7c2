"""The scenarios of the plateau law, with one learning rate and with the best of several."""

from functools import partial

import numpy as np

from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.plateau_law import published
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, texts
from tests.experiments.studies.made_up import made_up_run

SIZES = (1024, 2048, 4096, 8192, 16384)
NUM_SEEDS = 3


def cases(study):
    """The cases of ``study``. Its seeds are shared over sizes or not."""

    def runs(end, sizes=SIZES, scatter=0.01, seeds=NUM_SEEDS, shared=True, last=None, ratio=None, apart=0.0):
        """``end(size)`` is where plateaus end; seeds are ``scatter`` apart in logs, each in its own order of sizes.

        With ``ratio(size)``, knowledge is 5% at this share of the plateau's end, and seeds are ``apart`` in its log.
        """
        made = []
        for place, size in enumerate(sizes):
            for seed in range(seeds):
                leaves = end(size) * np.exp(scatter * (((2 * place + 1) * seed + place) % 3 - 1))
                interval = max(1, int(end(size) / 12))
                settings = (
                    "training.batch_size=32",
                    f"evaluation.interval={interval}",
                    f"evaluation.interval_unseen={100 * interval}",
                )
                name = seed if shared else 100 * size + seed
                shape = {"start": end(size) / 5, "slope": 5 / end(size), "last": last, "seed": name}
                if ratio:
                    five = leaves * ratio(size) * np.exp(apart * ((seed + place) % 3 - 1))
                    shape["knowledge"] = partial(rising, five)
                made.append(made_up_run(GridRun(settings, labels={"size": size}), leaves, **shape))
        return made

    def rising(five, step):
        """Knowledge that starts to be there at half of ``five``, and is 5% there."""
        return max(0.0, 0.05 + 0.1 * (step - five) / five)

    def growing(size):
        return 0.8 * (size / 4096) ** 0.06

    def law(b, a=0.43):
        return lambda size: a * (1000 / 128) * size**b  # of the size in the laptop's unit, long enough to be evaluated

    def wavy(size):
        return law(0.8)(size) * (1.5 if SIZES.index(size) % 2 else 0.7)

    def late(size):
        """A start of its own and then a linear law."""
        return 500 + 0.3 * size

    def per_person(count, **shape):
        """Every person is met ``count`` times, more often in smaller populations, until the plateau ends."""
        return lambda: runs(lambda size: count * (size / 4096) ** -0.1 * size / 32, **shape)

    def ends(factor=1.0, **shape):
        return lambda: runs(lambda size: factor * published.ENDS[size], tuple(published.ENDS), **shape)

    is_law, is_best, sublinear, exponent, by_knowledge = texts(study)
    prefactor, same_ends = texts(study, "paper")[4:6]
    encounters = texts(study, "workstation")[4]
    every = (is_law, is_best, sublinear, exponent)
    near = "sizes inside the law"
    workstation, paper = {"scale": "workstation"}, {"scale": "paper"}
    return [
        Case(HOLDS, lambda: runs(law(0.81)), every),
        Case(HOLDS, lambda: runs(law(0.81), shared=False), every),
        Case(HOLDS, lambda: runs(law(0.81), shared=False), every, **workstation),
        Case(HOLDS, lambda: runs(law(0.81), scatter=0, seeds=1), (is_law, sublinear, exponent)),
        Case(DOES_NOT_HOLD, lambda: runs(wavy), (is_law,)),
        Case(DOES_NOT_HOLD, lambda: runs(late), (is_law, is_best)),
        Case(DOES_NOT_HOLD, lambda: runs(law(1.3, 0.01)), (sublinear, exponent)),
        Case(TOO_SHORT, lambda: runs(law(0.81), last=100), (is_law, is_best), near),
        Case(TOO_SHORT, lambda: runs(law(0.81), last=100), (sublinear, exponent), "no fit"),
        Case(TOO_NOISY, lambda: runs(law(0.81), scatter=0.28), (is_law,)),
        Case(TOO_NOISY, lambda: runs(law(0.95), scatter=0.5), (is_best,), "against the power law's"),
        Case(TOO_NOISY, lambda: runs(law(0.81), scatter=0.8), (exponent,)),
        Case(TOO_NOISY, lambda: runs(law(0.97), scatter=0.28), (sublinear,)),
        Case(TOO_NOISY, lambda: runs(law(0.81), SIZES[:4]), (is_law, is_best), "only 4 sizes inside the law"),
        Case(TOO_NOISY, lambda: runs(law(0.81), SIZES[:2]), (sublinear, exponent), "no fit"),
        Case(HOLDS, lambda: runs(law(0.81), ratio=growing, shared=False), (by_knowledge,)),
        Case(DOES_NOT_HOLD, lambda: runs(law(0.81), ratio=lambda size: 0.6 / growing(size)), (by_knowledge,)),
        Case(TOO_SHORT, lambda: runs(law(0.81), ratio=growing, last=100), (by_knowledge,), "at only 0 sizes"),
        Case(TOO_SHORT, lambda: runs(law(0.81), ratio=lambda size: 1.5 * (size > 9000) + 0.5), (by_knowledge,), "at only 4 sizes"),
        Case(TOO_NOISY, lambda: runs(law(0.81), ratio=growing, apart=0.2, shared=False), (by_knowledge,)),
        Case(TOO_NOISY, lambda: runs(law(0.81)), (by_knowledge,), "at only 0 sizes"),
        Case(HOLDS, per_person(8), (encounters,), **workstation),
        Case(DOES_NOT_HOLD, per_person(14), (encounters,), **workstation),
        Case(DOES_NOT_HOLD, per_person(4.5), (encounters,), **workstation),
        Case(TOO_SHORT, per_person(8, last=200), (encounters,), near, **workstation),
        Case(TOO_NOISY, per_person(8, scatter=0.3), (encounters,), "4,096: 8.0 [", **workstation),
        Case(TOO_NOISY, per_person(8, seeds=1), (encounters,), "no size has two seeds", **workstation),
        Case(HOLDS, ends(), (prefactor, same_ends), **paper),
        Case(DOES_NOT_HOLD, ends(4), (prefactor, same_ends), **paper),
        Case(TOO_SHORT, ends(last=100), (prefactor,), "no fit", **paper),
        Case(TOO_SHORT, ends(last=100), (same_ends,), "only 0 of the published sizes", **paper),
        Case(TOO_NOISY, ends(scatter=1.0), (prefactor,), **paper),
        Case(TOO_NOISY, ends(scatter=0.5), (same_ends,), **paper),
        Case(TOO_NOISY, ends(seeds=1), (same_ends,), "with two seeds", **paper),
    ]  # fmt: skip
