"""The tables and values of the plateau law."""

from typing import Any

import numpy as np

from moefacts.analysis.scaling_law import PowerLaw
from moefacts.analysis.summary import format_number
from moefacts.analysis.table import Table
from moefacts.experiments.studies.plateau_law import published
from moefacts.experiments.studies.plateau_law.knowledge import knowledge_values
from moefacts.experiments.studies.plateau_law.plateau_law_figures import SizePoint
from moefacts.experiments.studies.plateau_law.points import Evidence
from moefacts.experiments.studies.plateau_law.retention import retention_values


def law_values(evidence: Evidence) -> dict[str, Any]:
    """The numbers of the laws and of every size."""
    law = evidence.law
    values = _numbers(law)
    values["length_law"] = _numbers(evidence.length_law)
    values["knowledge"] = knowledge_values(evidence.knowledge, _numbers)
    values["retention"] = retention_values(evidence.retention)
    values["published"] = {"a": published.A, "b": published.B, "r_squared": published.R_SQUARED}
    laws = evidence.law_comparison
    values["law_comparison"] = None if laws is None else {formula: vars(law) for formula, law in laws.items()}
    values["sizes"] = [
        {
            "size": point.size,
            "plateau_ends": point.ends,
            "standard_errors_of_evaluation": point.errors,
            "plateau_lengths": point.lengths,
            "biographies_per_individual": [end * point.batch_size / point.size for end in point.ends],
            "sums_of_learning_rates": point.rate_sums,
            "bits_per_parameter": point.bits_per_parameter,
            "inside": point.inside,
            "outside_because": point.why,
            "log_residual": _residual(point, law),
            "local_exponent": _local_exponent(point, before),
        }
        for before, point in zip([None, *evidence.points], evidence.points, strict=False)
    ]
    return values


def _numbers(law: PowerLaw | None) -> dict[str, Any]:
    parts = [f"{part}{suffix}" for suffix in ("", "_interval") for part in ("a", "b", "r_squared", "bend")]
    return {part: None if law is None else getattr(law, part) for part in parts}


def _local_exponent(point: SizePoint, before: SizePoint | None) -> float | None:
    """The exponent of the law through two neighbouring sizes."""
    if before is None or not before.ends or not point.ends:
        return None
    return float(np.log(point.mean / before.mean) / np.log(point.size / before.size))


def _residual(point: SizePoint, law: PowerLaw | None) -> float | None:
    return None if law is None or not point.ends else float(np.log(point.mean / law.at(point.size)))


def law_table(evidence: Evidence, best: dict[int, float], title: str = "Plateau end by population size") -> Table:
    """Every size with its plateau ends; ``best`` has the learning rate that was chosen for each, if one was."""
    rows = []
    for before, point in zip([None, *evidence.points], evidence.points, strict=False):
        residual, local = _residual(point, evidence.law), _local_exponent(point, before)
        rows.append(
            [
                f"{point.size:,}",
                *([f"{best[point.size]:g}" if point.size in best else "–"] if best else []),
                ", ".join(format_number(round(end, 1)) for end in point.ends) or "–",
                ", ".join(f"{length:.0f}" for length in point.lengths) or "–",
                f"{point.mean * point.batch_size / point.size:.1f}" if point.ends else "–",
                f"{point.bits_per_parameter:.2f}",
                "–" if local is None else f"{local:.2f}",
                "–" if residual is None else f"{100 * np.expm1(residual):+.1f}%",
                "inside" if point.inside else point.why,
            ]
        )
    law = evidence.law
    note = "There are too few sizes inside the law for a fit."
    if law is not None:
        (a_low, a_high), (b_low, b_high) = law.a_interval, law.b_interval
        note = (
            f"Fit: {law.a:.3g}·N^{law.b:.3f}, R² {law.r_squared:.4f}; 95% intervals a [{a_low:.3g}, {a_high:.3g}], "
            f"b [{b_low:.3f}, {b_high:.3f}] (bootstrap over seeds and evaluation noise), in steps of "
            f"{evidence.points[0].batch_size} biographies. Published: {published.TEXT} steps of "
            f"{published.BATCH_SIZE}, R² {published.R_SQUARED}: plateaus end after "
            f"{min(published.ENCOUNTERS.values()):.1f} to {max(published.ENCOUNTERS.values()):.1f} biographies per "
            "person. With every doubling of the people the exponent changes "
            f"by {law.bend:+.3f} [{law.bend_interval[0]:+.3f}, {law.bend_interval[1]:+.3f}]; in a power law it does "
            "not change. The study's sizes carry 0.005 to 0.34 bits per parameter; a model can hold about 2 (arXiv "
            "2404.05405)."
        )
    if (length := evidence.length_law) is not None:
        (a_low, a_high), (b_low, b_high) = length.a_interval, length.b_interval
        note += (
            f" Fit to the plateau's length, over all sizes that have one: {length.a:.3g}·N^{length.b:.3f}, R² "
            f"{length.r_squared:.4f}; a [{a_low:.3g}, {a_high:.3g}], b [{b_low:.3f}, {b_high:.3f}]."
        )
    columns = ["people", *(["best rate"] if best else []), "plateau end, each seed (steps)", "plateau length (steps)"]
    columns += ["biographies per person", "facts (bits per parameter)", "exponent from the size before"]
    columns += ["against the law", "in the fit"]
    return Table(title, columns, rows, note)


def comparison_table(evidence: Evidence) -> Table:
    """The laws that are compared by AICc."""
    laws = evidence.law_comparison or {}
    lowest = min((law.aicc for law in laws.values()), default=0.0)
    rows = [
        [formula, f"{law.t0:.3g}", f"{law.c:.3g}", f"{law.b:.3f}", f"{law.aicc - lowest:.1f}"]
        for formula, law in laws.items()
    ]
    note = (
        "Fitted in logs to the plateau ends of all runs inside the law; T0 is not negative. The lowest AICc is the "
        "best balance of fit and number of parameters; one that is higher by less than 2 is about as good."
    )
    return Table("Which law describes the plateau's end", ["law", "T0", "c", "b", "AICc above the best"], rows, note)
