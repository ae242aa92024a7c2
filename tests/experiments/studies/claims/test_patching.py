"""The claims about patched attention, in every scenario."""

from functools import partial

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.patching.grids import OWN, UNTRAINED
from moefacts.experiments.studies.patching.patching import AFTER, EARLY, STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run

FACTORS = {"laptop": 1, "paper": 8}  # scale -> how many times longer plateaus are than made up here


def runs(scale, shapes, seeds=3, jumps=0, **usual):
    """The runs of the arms that claims are about.

    ``shapes`` are arm -> (plateau start, plateau end). Ends of neighbouring seeds are ``jumps`` steps apart, in another
    order in every arm.
    """
    factor = FACTORS[scale]
    first = {grid_run.labels["arm"]: grid_run for grid_run in reversed(STUDY.grids[scale])}
    made = []
    for number, (arm, (start, end)) in enumerate(shapes.items()):
        look = {key: value(arm) if callable(value) else value for key, value in usual.items()}
        look = {
            "slope": (0.05 if end - start < 50 else 0.005) / factor,
            "last": factor * 1000,
            "start": factor * start,
        } | look
        for seed in range(seeds):
            leaves = factor * (end + jumps * ((seed + number) % 3)) + 5 * seed
            made.append(made_up_run(first[arm], leaves, seed=seed, **look))
    return made


def cases(scale):
    factor, (early, later), after = FACTORS[scale], EARLY, AFTER
    sooner, gone, *worse = claims = texts(STUDY, scale)
    shown = {OWN: (200, 400), UNTRAINED: (200, 600), early: (200, 800), later: (200, 850), after: (200, 215)}
    stay = dict.fromkeys(shown, (200, 50_000))
    case = partial(Case, scale=scale)

    def make(shapes, **usual):
        return lambda: runs(scale, shapes, **usual)

    def undetermined(arm):
        return lambda step: {"eval/seen/attribute_loss": BASELINE * (2 if step < 60 else 0.98 if step % 3 else 1.0)}

    return [
        case(HOLDS, make(shown), claims),
        case(DOES_NOT_HOLD, make(shown | {after: (200, 500), early: (200, 300), later: (200, 300)}), claims),
        case(DOES_NOT_HOLD, make(shown | {after: (200, 50_000)}), (gone,), "in 0 of 3 seeds"),  # it already lasts
        case(TOO_SHORT, make(stay, last=30 * factor), (sooner, gone)),
        case(TOO_SHORT, make(stay, last=30 * factor), (gone,), "before its plateau began"),
        case(TOO_SHORT, make(stay, last=210 * factor), (gone,), "before its plateau ended"),
        case(
            TOO_SHORT,
            make(stay, last=300 * factor, plateau=lambda arm: 1.02 if arm == UNTRAINED else 1.03),
            worse,
            "in 3 of 3 pairs both runs stopped before",
        ),
        case(TOO_NOISY, make(dict.fromkeys(shown, (120, 400)), jumps=200), (sooner, *worse)),
        case(TOO_NOISY, make(shown, extra=undetermined), (gone,), "cannot tell with seeds 0, 1, 2"),
        case(TOO_NOISY, make(shown, seeds=1), claims),
    ]  # fmt: skip


CASES = [case for scale in FACTORS for case in cases(scale)]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)
