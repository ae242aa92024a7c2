"""How many verdicts of a study would be left if its claims were judged together (Benjamini and Hochberg 1995)."""

from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats

from moefacts.experiments.engine.verdict import CANNOT_TELL

FALSE_DISCOVERY_RATE = 0.05


def judged_together(claims: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The verdicts that would become "cannot tell" if the study's claims were judged together; None for one claim.

    Every claim with a p-value is a hypothesis, also when it could not be told.

    Args:
        claims: rows of ``results.json`` with their ``claim``, ``verdict`` and ``p_value``.

    Returns:
        ``no_longer_told`` and ``not_included``, lists of claims, and ``text``, a sentence about them.
    """
    if len(claims) < 2:
        return None
    included = [claim for claim in claims if claim["p_value"] is not None]
    left_out = [claim["claim"] for claim in claims if claim["p_value"] is None]
    adjusted = stats.false_discovery_control([claim["p_value"] for claim in included]) if included else []
    told = [(claim["claim"], p) for claim, p in zip(included, adjusted, strict=True) if claim["verdict"] != CANNOT_TELL]
    lost = [claim for claim, p in told if p > FALSE_DISCOVERY_RATE]
    return {"no_longer_told": lost, "not_included": left_out, "text": _text(len(included), len(told), lost, left_out)}


def _text(num_included: int, num_told: int, lost: Sequence[str], left_out: Sequence[str]) -> str:
    if not num_included:
        return "No claim has a p-value, so they cannot be judged together by Benjamini–Hochberg."
    text = (
        f"If the {num_included} claims with a p-value were judged together (Benjamini–Hochberg at "
        f"{FALSE_DISCOVERY_RATE:.0%}), {len(lost)} of the {num_told} that hold or do not hold would no longer be told"
    )
    text += f": {_quoted(lost)}." if lost else "."
    return text + (f" Not included, because their rules give no p-value: {_quoted(left_out)}." if left_out else "")


def _quoted(claims: Sequence[str]) -> str:
    return ", ".join(f"“{claim}”" for claim in claims)
