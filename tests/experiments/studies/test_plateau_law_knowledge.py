"""Knowledge and retention on the page of the plateau law: what was put into made-up runs stands in its cells."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from moefacts.analysis.fading import Fading
from moefacts.experiments.engine.study import GridRun
from moefacts.experiments.studies.plateau_law import mixtures, plateau_law
from moefacts.experiments.studies.plateau_law.retention import RetentionPoint, retention_figure, retention_table
from tests.experiments.studies.made_up import ATTRIBUTES, BASELINE, made_up_run
from tests.experiments.studies.reading import cells, drawn

SIZES, NUM_SEEDS = (1000, 2000, 4000, 8000), 3
RATIO = {size: 0.8 * (size / 4000) ** 0.1 for size in SIZES}


def end_of(size, seed):
    return 0.3 * size * 1.02 ** (seed - 1)


def rising(five):
    """Knowledge that grows by 5% of the baseline in as many steps as ``five``, and is 5% there."""
    return lambda step: max(0.0, 0.05 * (1 + 4 * (step - five) / five))


def run_of(size, seed, **shape):
    interval = int(end_of(size, 1) / 30)
    settings = (
        "training.batch_size=32",
        f"evaluation.interval={interval}",
        f"evaluation.interval_unseen={interval * 100}",
    )
    shape = {"start": 0.1 * size, "slope": 20 / size, "knowledge": rising(RATIO[size] * end_of(size, seed))} | shape
    made = made_up_run(GridRun(settings, labels={"size": size}), end_of(size, seed), seed=100 * size + seed, **shape)
    made.record.manifest["plateau_end"] = int(end_of(size, seed))
    return made


@cache
def runs():
    return tuple(run_of(size, seed) for size in SIZES for seed in range(NUM_SEEDS))


@cache
def findings():
    return plateau_law.examine(runs())


def table(title):
    (found,) = [one for one in findings().tables if one.title == title]
    return found


def test_every_size_has_the_steps_to_5_percent_beside_the_plateaus_end():
    rows = cells(table("Knowledge by population size"))
    for size, row in zip(SIZES, rows, strict=True):
        assert row["people"] == f"{size:,}"
        ends = [float(one.replace(",", "")) for one in row["plateau end, each seed (steps)"].split(", ")]
        steps = [float(one.replace(",", "")) for one in row["steps to 5% knowledge, each seed"].split(", ")]
        assert ends == pytest.approx([end_of(size, seed) for seed in range(NUM_SEEDS)], rel=0.01)
        assert steps == pytest.approx([RATIO[size] * end for end in ends], rel=0.02)
        assert float(row["over the plateau's end"]) == pytest.approx(RATIO[size], abs=0.02)
        assert row["in the fit"] == "inside"
    assert rows[0]["exponent from the size before"] == "–"
    assert float(rows[1]["exponent from the size before"]) == pytest.approx(1.1, abs=0.02)


def test_the_floor_and_the_knowledge_at_the_plateaus_end_differ_by_its_threshold():
    for size, row in zip(SIZES, cells(table("Knowledge by population size")), strict=True):
        control, known = (
            float(row[key].split(" ± ")[0])
            for key in ("permuted values at the plateau's end", "knowledge at the plateau's end")
        )
        assert control - known == pytest.approx(0.99, abs=0.002)
        assert known == pytest.approx(rising(RATIO[size])(1.0), abs=0.005)
        lowest = [
            run.record.evaluations["eval/seen/control_loss"].min() for run in runs() if run.labels["size"] == size
        ]
        assert float(row["floor"].split(" ± ")[0]) == pytest.approx(np.mean(lowest) / BASELINE, abs=0.001)


def test_the_laws_of_knowledge_and_of_the_end_are_fitted_to_the_same_runs_and_differ_by_the_ratios_exponent():
    knowledge = findings().values["knowledge"]
    assert knowledge["law"]["b"] == pytest.approx(1.1, abs=0.01)
    assert knowledge["plateau_end_law_at_these_sizes"]["b"] == pytest.approx(1.0, abs=0.01)
    difference = knowledge["law"]["b"] - knowledge["plateau_end_law_at_these_sizes"]["b"]
    assert knowledge["ratio_to_plateau_end_law"]["b"] == pytest.approx(difference, abs=1e-9)
    low, high = knowledge["ratio_to_plateau_end_law"]["b_interval"]
    assert low < difference < high
    assert (
        f"The exponents differ by {difference:+.3f} [{low:+.3f}, {high:+.3f}]"
        in table("Knowledge by population size").note
    )
    first = knowledge["sizes"][0]["runs"][0]
    assert first["steps"] == pytest.approx(RATIO[1000] * end_of(1000, 0), rel=0.02)
    assert 0 < first["error"] < 0.02 * first["steps"]


def test_a_size_at_which_a_seed_never_knows_5_percent_is_outside_and_says_so():
    ignorant = run_of(2000, 1, knowledge=lambda step: 0.01)
    found = plateau_law.examine([ignorant if one.seed == ignorant.seed else one for one in runs()])
    row = cells(next(one for one in found.tables if one.title == "Knowledge by population size"))[1]
    assert row["in the fit"].startswith("5% knowledge cannot be determined in 1 of 3 runs (knowledge never reached 5%)")
    assert ", –, " in row["steps to 5% knowledge, each seed"]
    assert [point.size for point in found.evidence.knowledge.inside] == [1000, 4000, 8000]


def test_attributes_have_their_own_steps_and_their_share_of_what_is_known_at_the_end():
    def more_of_birth_dates(size, step):
        known = rising(RATIO[size] * end_of(size, 1))(step)
        return {f"eval/seen/control_loss/{ATTRIBUTES[0]}": BASELINE * (0.99 + 2 * known)}

    run = run_of(1000, 1, slope=1e-9, last=400, extra=lambda step: more_of_birth_dates(1000, step))
    measures = run.measures | {"plateau_end_status": "reached", "plateau_end_interpolated": 300.0}
    measures |= {"plateau_end_low": 299.0, "plateau_end_high": 301.0, "plateau_length": 200.0}
    found = plateau_law.examine([replace(run, measures=measures)])
    row = cells(next(one for one in found.tables if one.title == "Steps to 5% knowledge by attribute"))[0]
    five = RATIO[1000] * end_of(1000, 1)
    (first, share), (other, rest) = (row[name].split("; ") for name in ("birth date", "company"))
    assert float(first) == pytest.approx(five * (1 - 1 / 8), rel=0.03)  # known at half of 5%
    assert float(other) == pytest.approx(five, rel=0.03)
    assert (share, rest) == ("29%", "14%")  # two of seven, and one


def test_without_knowledge_and_retention_the_page_does_not_speak_of_them():
    found = plateau_law.examine([run_of(size, 0, knowledge=None) for size in SIZES])
    assert not {"floor_and_knowledge", "retention"} & found.figures.keys()
    assert [one.title for one in found.tables if "nowledge" in one.title or "etention" in one.title] == []
    assert found.values["knowledge"]["law"]["b"] is None


def test_the_figure_has_a_line_for_every_run_and_the_5_percent():
    _, draw = findings().figures["floor_and_knowledge"]
    panels = list(drawn(draw()).values())
    ends = [0.99] * 2, [0.05] * 2
    for lines, level in zip(panels, ends, strict=True):
        assert len([line for line in lines if len(line) > 2]) == len(SIZES) * NUM_SEEDS
        assert any(np.allclose(line, level) for line in lines if len(line) == 2)
    for run in runs():
        control = run.record.evaluations["eval/seen/control_loss"] / BASELINE
        assert any(len(line) == len(control) and np.allclose(line, control) for line in panels[0])


TOLD, WIDE = Fading(80.0, 60.0, 110.0, 0.002), Fading(50.0, 20.0, None, 0.002)
POINTS = [
    RetentionPoint(512, 16.0, (1, 2, 3), (TOLD, replace(TOLD, time_scale=20.0, low=15.0, high=30.0), None), ("", "", "not probed")),
    RetentionPoint(2048, 64.0, (4,), (WIDE,), ("the data do not bound it on both sides",)),
    RetentionPoint(4096, 128.0, (5, 6, 7), (TOLD, TOLD, replace(TOLD, time_scale=81.0)), ("",) * 3),
]  # fmt: skip


def test_time_scales_stand_beside_the_interval_at_which_people_are_shown():
    rows = [list(row.values()) for row in cells(retention_table(POINTS))]
    assert rows[0] == ["512", "16", "80 [60, 110], 20 [15, 30], –", "40", "2.50", "seed 3: not probed"]
    assert rows[1] == ["2,048", "64", "–", "–", "–", "seed 4: the data do not bound it on both sides"]
    assert rows[2][3].startswith("80.3 [78.9")
    assert rows[2][4:] == ["0.63", "–"]


def test_the_figure_of_retention_has_the_time_scales_that_can_be_told_and_the_interval():
    ((_, lines),) = drawn(retention_figure(POINTS)).items()
    assert any(np.allclose(line, [16, 64, 128]) for line in lines if len(line) == 3)
    assert sorted(float(line[0]) for line in lines if len(line) == 1) == pytest.approx(
        [20, 40, 80, 80, 80, 80.3, 81], abs=0.1
    )


def test_mixtures_have_their_knowledge_beside_the_dense_models():
    made = []
    for grid_run in mixtures.STUDY.grids["workstation"]:
        if grid_run.labels["size"] == 1024:
            five = 150 if grid_run.labels["arm"] == "dense" else 120
            made.append(made_up_run(grid_run, 225, start=80, slope=0.03, knowledge=rising(five)))
    (knowledge,) = [one for one in mixtures.examine(made).tables if "nowledge" in one.title]
    rows = cells(knowledge)
    assert len(rows) == 5
    assert rows[0]["steps to 5% knowledge"].startswith("150")
    assert rows[0]["ratio of steps to 5% to dense"] == "–"
    assert rows[1]["ratio of steps to 5% to dense"].startswith("×0.8")
    assert {row["τ at the plateau's end, each seed (steps)"] for row in rows} == {"–"}
