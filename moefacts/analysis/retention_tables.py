"""What the retention probe found, as JSON values and as table cells."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from moefacts.analysis.fading import Fading, fading, settling_steps
from moefacts.analysis.groups import Group
from moefacts.analysis.retention import person_table, two_way_table
from moefacts.runs.reader import Run

RETENTION_HEADER = (
    "group",
    "seed",
    "step",
    "people",
    "knowledge",
    "not shown yet",
    "time scale (steps)",
    "above a floor",
)


def retention_summary(run: Run) -> list[dict[str, Any]]:
    """For every probed checkpoint its step, the fit and the two-way table as JSON values; empty without the probe."""
    table = person_table(run)
    found = []
    for step, people in [] if table is None else table.groupby("step"):
        cells, (plain, above) = two_way_table(people), _fits(run, people)
        found.append(
            {
                "step": int(step),
                "num_people": len(people),
                "knowledge": float(people["knowledge"].mean()),
                "fading": _as_json(plain),
                "fading_above_floor": None if above is None else _as_json(above),
                "table": cells.astype(object).where(cells.notna(), None).to_dict("records"),
            }
        )
    return found


def _fits(run: Run, people: pd.DataFrame) -> tuple[Fading, Fading | None]:
    """The fit without a floor, and that with one if it is needed."""
    best = fading(people, settling_steps(run))
    return (fading(people, settling_steps(run), has_floor=False), best) if best.has_floor else (best, None)


def _as_json(fit: Fading) -> dict[str, Any]:
    names = ("time_scale", "low", "high", "p_value", "is_known")
    return {name: getattr(fit, name) for name in names}


def retention_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """One row of cells, under ``RETENTION_HEADER``, for every probed checkpoint of every run."""
    rows: list[tuple[str, ...]] = []
    for label, run in ((group.label, run) for group in groups for run in group.runs):
        table = person_table(run)
        for step, people in [] if table is None else table.groupby("step"):
            never = people[people["times_shown"] == 0]
            unshown = f"{never['knowledge'].mean():.3f} ({len(never)} people)" if len(never) else "nobody"
            cells = (f"{step:,}", f"{len(people):,}", f"{people['knowledge'].mean():.3f}", unshown)
            plain, above = _fits(run, people)
            rows.append((label, str(run.seed), *cells, plain.text(), "not needed" if above is None else above.text()))
    return rows


def two_way_cells(run: Run) -> tuple[int, list[str], list[list[str]]] | None:
    """The two-way table of the last probed checkpoint as cells; None without the probe.

    Returns:
        The step, the header (ranges of steps since last shown), and one row per range of times shown, which stands
        first. A cell is mean knowledge in baselines, its standard error, and the number of people.
    """
    table = person_table(run)
    if table is None:
        return None
    step = int(table["step"].max())
    cells = two_way_table(table[table["step"] == step])
    shown = cells[cells["shown_high"] > 0]
    columns = sorted(set(zip(shown["since_low"].astype(int), shown["since_high"].astype(int), strict=True)))
    header = ["times shown", *(_range(low, high) for low, high in columns)]
    rows = []
    for (low, high), line in cells.groupby(["shown_low", "shown_high"]):
        if high == 0:
            rows.append(["not shown yet", _cell(line.iloc[0]), *[""] * (len(columns) - 1)])
            continue
        at = {int(cell["since_low"]): _cell(cell) for _, cell in line.iterrows()}
        rows.append([_range(low, high), *(at.get(since, "") for since, _ in columns)])
    return step, header, rows


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"


def _cell(cell: pd.Series) -> str:
    error = "" if pd.isna(cell["standard_error"]) else f" ± {cell['standard_error']:.3f}"
    return f"{cell['knowledge']:.3f}{error} ({cell['num_people']:.0f})"
