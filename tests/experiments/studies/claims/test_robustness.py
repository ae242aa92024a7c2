"""The claims about three phases with other settings, in every scenario."""

from moefacts.experiments.engine.verdict import DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies.robustness.robustness import STUDY
from tests.experiments.studies.claims.cases import TOO_NOISY, TOO_SHORT, Case, check, parametrized, texts
from tests.experiments.studies.made_up import BASELINE, made_up_run

ALL = texts(STUDY)
WHATEVER, *EACH = ALL
MELTED, STOPS = {"start": 560, "leaves": 580}, {"leaves": 5000, "last": 300}


def runs(odd=None, parts=None, **shape):
    """Runs with three phases; the first run that varies each setting in ``parts`` (all by default) has ``odd``."""
    made, seen = [], set()
    for run in STUDY.grids["laptop"]:
        part = run.labels["part"]
        longer = 32 / float(run.labels["value"]) if part == "batch size" else 1
        look = {"leaves": 400, "start": 60, "last": 700} | shape
        if part not in seen and (parts is None or part in parts):
            look |= odd or {}
        seen.add(part)
        scaled = {key: one * longer if key in ("leaves", "start") else one for key, one in look.items()}
        scaled["last"] = int(scaled["last"] * longer)
        made.append(made_up_run(run, slope=0.01 / longer, **scaled))
    return made


def undetermined(step):
    """``extra`` of a run whose loss hovers around the threshold."""
    return {"eval/seen/attribute_loss": BASELINE * (2 if step < 60 else 0.98 if step % 120 else 1.0)}


CASES = [
    Case(HOLDS, runs, ALL),
    Case(DOES_NOT_HOLD, lambda: runs(MELTED), ALL, "; not with "),
    Case(DOES_NOT_HOLD, lambda: runs(MELTED, ["mixer"]), (WHATEVER, EACH[-1]), "not with mixer attention"),
    Case(DOES_NOT_HOLD, lambda: [*runs(MELTED, ["mixer"])[:-1], *runs(STOPS)[-1:]], (WHATEVER,)),  # one run is enough
    Case(TOO_SHORT, lambda: runs(STOPS), ALL, "before its plateau ended)"),
    Case(TOO_SHORT, lambda: runs({"leaves": 5000, "start": 400, "last": 60}), ALL, "before its plateau began)"),
    Case(TOO_NOISY, lambda: runs({"extra": undetermined}), ALL, "cannot tell with"),
    Case(TOO_NOISY, lambda: runs()[:1], ALL, "fewer than 2 runs"),
]


@parametrized(CASES)
def test_the_claims_have_their_answer(case):
    check(STUDY, case)


def test_the_other_settings_are_judged_without_the_odd_run():
    evidence = STUDY.examine(runs(MELTED, ["mixer"])).evidence
    answers = [claim.decide(evidence).answer for claim in STUDY.claims["laptop"]]
    assert answers == [DOES_NOT_HOLD, *[HOLDS] * 5, DOES_NOT_HOLD]
