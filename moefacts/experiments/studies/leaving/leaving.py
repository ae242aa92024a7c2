"""Is the time scale that is fitted to one checkpoint the one in which people are really forgotten?

The retention probe fits τ to how much less is known of people who were shown longer ago (``analysis.fading``). Where
the plateau ends, the fit gave 1.6 to 1.9 times the interval N/B at which people are shown, whatever N (LOG.md), so it
may measure how far apart biographies are instead of forgetting. Here the same run is trained again, and from its
plateau's end on a quarter of the people, a random one, is shown no more. What is known of them then fades on a time
scale that no fit to a single moment is needed for. At one size, a wider model, a lower learning rate and larger batches
say what keeps more of them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from moefacts.analysis.comparison import Bounds
from moefacts.analysis.figures import DrawFigure
from moefacts.analysis.retention_at_end import retention_at_end, why_untold
from moefacts.analysis.summary import Estimate, estimate, format_number
from moefacts.analysis.table import Table
from moefacts.experiments.engine.study import Findings, FinishedRun, Study
from moefacts.experiments.studies.leaving.claims import CLAIMS
from moefacts.experiments.studies.leaving.forgotten import Evidence, Forgotten
from moefacts.experiments.studies.leaving.grid import SIZE, SIZES, grid
from moefacts.experiments.studies.leaving.leaving_figures import CAPTION, known_figure

_AGAINST_PERMUTED = "known of those who left, against permuted values, end over start"
_OF_STAYING = "known of those who stay, end over start"


def examine(runs: Sequence[FinishedRun]) -> Findings:
    """Compare the two time scales of every run of the usual settings, and what other settings keep."""
    evidence = Evidence.of_runs(runs)
    sizes, of_sizes = _sizes_table(evidence)
    settings, of_settings = _settings_table(evidence)
    values = {"sizes": of_sizes, "settings": of_settings}
    return Findings(values, [sizes, settings], _figures(evidence), evidence)


def _sizes_table(evidence: Evidence) -> tuple[Table, list[dict[str, Any]]]:
    rows, values = [], []
    for size in SIZES:
        ours = [one for one in evidence.leaving if one.run.labels["size"] == size]
        fits = [tau for (people, _), tau in evidence.fitted.items() if people == size]
        staying = [run.record for run in evidence.staying if run.labels["size"] == size]
        whys = {why_untold(record, retention_at_end(record)) for record in staying} - {""}
        tau_in_intervals = [None if one.time_scale is None else one.time_scale / one.interval for one in ours]
        kept = estimate([one.kept for one in ours])
        rows.append(
            [
                f"{size:,}",
                f"{ours[0].interval:.0f}" if ours else "–",
                ", ".join(_bounded(one.bounds) for one in ours) or "–",
                _cell(estimate(tau_in_intervals)),
                ", ".join(format_number(tau) if tau is not None else "not told" for tau in fits) or "–",
                _cell(kept),
                _cell(estimate([one.share("staying") for one in ours])),
                "; ".join(sorted(whys)) or "–",
            ]
        )
        scales = [one.time_scale for one in ours]
        values.append({"size": size, "time_scales": scales, "fitted": fits, "kept": kept and vars(kept)})
    columns = ["people", "revisit interval N/B (steps)", "forgotten with τ (steps), each seed", "over N/B"]
    columns += ["fitted τ (steps), each seed", _AGAINST_PERMUTED, _OF_STAYING, "fit cannot tell"]
    note = "Who stays is the control: less may not be known of them at the end."
    return Table("Time scales of forgetting where the plateau ends", columns, rows, note), values


def _settings_table(evidence: Evidence) -> tuple[Table, list[dict[str, Any]]]:
    rows, values = [], []
    for settings, ours in evidence.by_settings.items():
        means = {
            "share": estimate([one.share("leaving") for one in ours]),
            "kept": estimate([one.kept for one in ours]),
            "share_of_staying": estimate([one.share("staying") for one in ours]),
        }
        left = ", ".join(f"{one.run.record.settings.sampling.leaving_step:,}" for one in ours)
        rows.append([settings, str(len(ours)), left, f"{ours[0].interval:.0f}", *map(_cell, means.values())])
        values.append({"settings": settings} | {name: mean and vars(mean) for name, mean in means.items()})
    columns = ["settings", "runs", "left at step, each seed", "revisit interval N/B (steps)"]
    columns += ["known of those who left, end over start", _AGAINST_PERMUTED, _OF_STAYING]
    note = (
        "Means ± half of the 95% interval over seeds. The runs end equally many revisit intervals after people left: "
        "after as many biographies, and with larger batches after half as many steps."
    )
    return Table(f"What is kept of {SIZE // 4:,} of {SIZE:,} people, by settings", columns, rows, note), values


def _cell(mean: Estimate | None) -> str:
    return "–" if mean is None else mean.text()


def _bounded(bounds: Bounds | None) -> str:
    if bounds is None:
        return "not told"
    return format_number(bounds[0]) if bounds[0] == bounds[1] else f"over {format_number(bounds[0])}"


def _figures(evidence: Evidence) -> dict[str, tuple[str, DrawFigure]]:
    by_size: dict[str, list[Forgotten]] = {}
    for one in sorted(evidence.leaving, key=lambda one: one.run.labels["size"]):
        by_size.setdefault(f"{one.run.labels['size']:,} people", []).append(one)
    figures: dict[str, tuple[str, DrawFigure]] = {}
    if by_size:
        figures["leaving"] = (CAPTION, partial(known_figure, by_size))
    if len(evidence.by_settings) > 1:
        figures["settings"] = (f"{CAPTION} {SIZE:,} people.", partial(known_figure, evidence.by_settings))
    return figures


STUDY = Study(
    name="leaving",
    title="Are people who are no longer shown forgotten as fast as a fit to one checkpoint says, and what keeps more?",
    figure="not in the paper",
    grids={"laptop": grid()},
    claims={"laptop": CLAIMS},
    examine=examine,
    probes=("retention",),
)
