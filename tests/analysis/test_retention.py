"""A time scale that is known is found, and what cannot be told is not told."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from moefacts.analysis.fading import fading, settling_steps
from moefacts.analysis.groups import Group
from moefacts.analysis.retention import person_table, ranges, two_way_table
from moefacts.analysis.retention_at_end import retention_at_end, why_untold
from moefacts.analysis.retention_figures import retention_curves
from moefacts.analysis.retention_tables import retention_rows, retention_summary, two_way_cells
from moefacts.runs import tables
from moefacts.runs.reader import read_run

STEP = 1000


def made_up(scale, floor=0.0, amplitude=0.5, people=3000, noise=0.2, seed=0, mean_since=60.0, never=0):
    """People whose knowledge fades on the time scale ``scale``, the more there is the more often they were shown."""
    random = np.random.default_rng(seed)
    times = random.poisson(20, people) + 1
    since = random.exponential(mean_since, people).astype(int).astype(float)
    knowledge = floor + amplitude * times / 20 * np.exp(-since / scale) + noise * random.standard_normal(people)
    shown = pd.DataFrame({"times_shown": times, "steps_since_shown": since, "knowledge": knowledge})
    return pd.concat(
        [shown, pd.DataFrame({"times_shown": np.zeros(never, int), "steps_since_shown": np.nan, "knowledge": 0.01})]
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [10.0, 40.0, 150.0])
def test_a_known_time_scale_is_in_its_interval(scale, seed):
    fit = fading(made_up(scale, seed=seed))
    assert fit.is_known
    assert not fit.has_floor
    assert fit.low < fit.time_scale < fit.high
    assert fit.low * 0.95 <= scale <= fit.high * 1.05  # one in twenty intervals misses it
    assert fit.high < 1.5 * fit.low
    assert fit.amplitude_G == pytest.approx([0.4, 0.52, 0.65], abs=0.1)
    assert sorted(fit.amplitude_G) == list(fit.amplitude_G)


@pytest.mark.parametrize("seed", range(3))
def test_what_does_not_fade_is_a_floor_where_it_is_needed(seed):
    fit = fading(made_up(30.0, floor=0.3, seed=seed))
    assert fit.has_floor
    assert fit.floor_G == pytest.approx([0.3] * 3, abs=0.05)
    assert fit.low * 0.95 <= 30.0 <= fit.high * 1.05
    assert fading(made_up(30.0, floor=0.3, seed=seed), has_floor=False).time_scale > 2 * 30.0


def test_the_interval_is_of_people_so_it_narrows_with_their_number():
    few, many = (fading(made_up(40.0, people=people)) for people in (500, 8000))
    assert np.log(many.high / many.low) < 0.4 * np.log(few.high / few.low)  # a quarter, as people are 16 times as many
    assert fading(made_up(40.0)) == fading(made_up(40.0))


def test_knowledge_that_does_not_fade_has_no_time_scale():
    told = [fading(made_up(40.0, amplitude=0.0, floor=0.5, seed=seed)).is_known for seed in range(20)]
    assert sum(told) <= 2
    assert fading(made_up(1e9, seed=1)).text() == "cannot tell"
    rising = made_up(40.0, amplitude=-0.5, floor=1.0)
    assert fading(rising).text() == "cannot tell"


def test_too_few_people_have_no_time_scale():
    for people in (0, 1, 2, 5):
        assert not fading(made_up(40.0, people=people, never=3)).is_known


def test_people_of_the_newest_steps_are_left_out_and_the_groups_stay_those_of_all():
    people = made_up(40.0)
    spoiled = people.assign(knowledge=people["knowledge"].where(people["steps_since_shown"] >= 7, 0.0))
    assert fading(spoiled, settling=7) == fading(people, settling=7)
    assert fading(spoiled, settling=7).low <= 40 * 1.05
    assert fading(spoiled).time_scale > 60


def test_people_never_shown_are_a_row_of_their_own_and_do_not_move_the_fit():
    with_some = made_up(40.0, never=50)
    table = two_way_table(with_some)
    first = table.iloc[0]
    assert (first["shown_low"], first["shown_high"], first["num_people"]) == (0, 0, 50)
    assert first["knowledge"] == pytest.approx(0.01)
    assert np.isnan(first["since_low"])
    assert (table["shown_high"] == 0).sum() == 1
    assert fading(with_some) == fading(made_up(40.0))


def test_every_cell_is_the_mean_of_its_people():
    people = made_up(40.0, people=400, never=7)
    table = two_way_table(people)
    assert table["num_people"].sum() == len(people)
    for _, cell in table[table["shown_high"] > 0].iterrows():
        inside = people["times_shown"].between(cell["shown_low"], cell["shown_high"])
        inside &= people["steps_since_shown"].between(cell["since_low"], cell["since_high"])
        assert inside.sum() == cell["num_people"]
        assert cell["knowledge"] == pytest.approx(people.loc[inside, "knowledge"].mean())


def test_the_table_tells_how_often_from_how_long_ago():
    """People shown more often were shown more recently here, but knowledge depends on how long ago alone."""
    random = np.random.default_rng(0)
    times = random.integers(1, 41, 4000)
    since = random.exponential(800 / times).astype(int).astype(float)
    knowledge = np.exp(-since / 50) + 0.1 * random.standard_normal(4000)
    people = pd.DataFrame({"times_shown": times, "steps_since_shown": since, "knowledge": knowledge})
    by_times = people.groupby(people["times_shown"] > 20)["knowledge"].mean()
    assert by_times[True] - by_times[False] > 0.2
    table = two_way_table(people)
    recent = table[table["since_high"] == table["since_high"].min()]
    assert recent["knowledge"].max() - recent["knowledge"].min() < 0.05
    fit = fading(people)
    assert fit.low * 0.95 <= 50 <= fit.high * 1.05


@pytest.mark.parametrize(
    ("amounts", "limits"),
    [
        (range(12), [(0, 3), (4, 7), (8, 11)]),
        ([5] * 9, [(5, 5)]),
        ([0] * 8 + [9], [(0, 0), (1, 9)]),
        ([3], [(3, 3)]),
    ],
)
def test_ranges_hold_about_equally_many_and_cover_everything(amounts, limits):
    assert ranges(np.array(amounts, dtype=float), 3) == limits


@pytest.mark.parametrize(("beta", "steps"), [(0.9, 7), (0.5, 1), (0.0, 0)])
def test_half_of_an_update_has_taken_effect_after_its_settling_steps(finished_run, beta, steps):
    run = read_run(finished_run)
    settings = replace(run.settings, training=replace(run.settings.training, beta1=beta))
    assert settling_steps(replace(run, settings=settings)) == steps
    assert 1 - beta**steps >= 0.5 or beta == 0


def probed(finished_run, folder):
    run = replace(read_run(finished_run), path=folder)
    rows = []
    for step in (STEP // 2, STEP):
        people = made_up(40.0, people=800, never=6).reset_index(drop=True)
        rows.append(
            people.assign(
                step=step,
                individual=people.index,
                attribute_loss=10.0,
                control_loss=10.0 + run.baseline * people["knowledge"],
            ).drop(columns="knowledge")
        )
    tables.RETENTION.write(folder, pd.concat(rows))
    return run


def test_knowledge_is_the_difference_of_the_losses_over_the_baseline(finished_run, tmp_path):
    table = person_table(probed(finished_run, tmp_path))
    expected = made_up(40.0, people=800, never=6)["knowledge"].to_numpy()
    assert table[table["step"] == STEP]["knowledge"].to_numpy() == pytest.approx(expected)
    assert person_table(read_run(finished_run)) is None


def test_tables_json_and_figure_have_every_checkpoint_and_the_people_never_shown(finished_run, tmp_path):
    run = probed(finished_run, tmp_path)
    summary = json.loads(json.dumps(retention_summary(run)))
    assert [one["step"] for one in summary] == [STEP // 2, STEP]
    assert summary[0]["fading"]["is_known"] is True
    assert summary[0]["fading_above_floor"] is None
    assert summary[0]["table"][0]["since_low"] is None
    rows = retention_rows([Group("all", [run]), Group("unprobed", [read_run(finished_run)])])
    assert [row[:4] for row in rows] == [("all", "0", "500", "806"), ("all", "0", "1,000", "806")]
    assert rows[0][5] == "0.010 (6 people)"
    step, header, cells = two_way_cells(run)
    assert step == STEP
    assert cells[0][0] == "not shown yet"
    assert {len(row) for row in cells} == {len(header)}
    figure = retention_curves(run)
    assert [axes.get_title()[:9] for axes in figure.axes if axes.get_title()] == ["step 500,", "step 1,00"]
    assert "not shown yet" in figure.axes[0].get_legend_handles_labels()[1]
    assert (retention_summary(read_run(finished_run)), two_way_cells(read_run(finished_run))) == ([], None)


@pytest.fixture
def at_end(tmp_path, finished_run):
    """A function: people, the step of their checkpoint and of the plateau's end -> a run that was probed so."""

    def made(people, step, end):
        table = people.assign(step=step, individual=np.arange(len(people)), control_loss=10.0)
        run = read_run(finished_run)
        table["attribute_loss"] = table["control_loss"] - table["knowledge"] * run.baseline
        path = tmp_path / f"{step}"
        path.mkdir()
        tables.RETENTION_AT_END.write(path, table.drop(columns="knowledge"))
        return replace(run, path=path, manifest=run.manifest | {"plateau_end": end})

    return made


def test_the_time_scale_at_the_plateaus_end_is_that_without_a_floor(at_end):
    run = at_end(made_up(30.0, floor=0.3), 110, 100)
    fit = retention_at_end(run)
    assert not fit.has_floor
    assert fit.is_known
    assert fit == fading(person_table(run, at_end=True), settling_steps(run), has_floor=False)
    assert why_untold(run, fit) == ""


def test_a_time_scale_at_the_end_that_cannot_be_told_has_a_reason(at_end):
    far, never, flat = (
        at_end(made_up(40.0), 116, 100),
        at_end(made_up(40.0), 117, None),
        at_end(made_up(40.0, amplitude=0.0, floor=0.5), 101, 100),
    )
    unprobed = replace(far, path=far.path / "elsewhere")
    whys = [why_untold(run, retention_at_end(run)) for run in (far, never, flat, unprobed)]
    assert whys[0] == "the checkpoint nearest to the plateau's end, step 100, is that of step 116"
    assert whys[1] == "the plateau did not end"
    assert "from chance" in whys[2]
    assert whys[3] == "not probed"
    slow = made_up(2000.0, noise=0.02, mean_since=20.0)
    assert fading(slow, has_floor=False).why == "the data do not bound it on both sides"
