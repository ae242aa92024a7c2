"""The page of a study whose runs are no longer there: from its ``results.json`` and the pictures beside it."""

import base64
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moefacts.analysis.figures import Drawing
from moefacts.analysis.study_report import StudyPage
from moefacts.experiments.engine.verdict import Claim
from moefacts.experiments.studies.catalog import STUDIES

_DOTS_PER_POINT = 300 / 72  # of the pictures (moefacts.mplstyle)
_NOTE = "Made from stored results, without their runs: the figures are pictures, and there are no further tables."


def stored_page(results: Mapping[str, Any], figures: Mapping[str, Path]) -> StudyPage:
    """What the page of a study shows, as far as its results say it.

    Args:
        results: the content of its ``results.json``.
        figures: name -> PNG file.
    """
    study = STUDIES.get(str(results["study"]).replace("_", "-"))
    present = study.claims.get(str(results["scale"]), ()) if study else ()
    claims = [{**_said_since(present, claim), **claim} for claim in results["claims"]]
    title = study.title if study else results["title"]
    main = str(results["study"]).replace("-", "_")
    names = sorted(figures, key=lambda name: not main.startswith(name))  # the figure called like the study leads
    drawings = [_drawing(name, figures[name]) for name in names]
    return StudyPage({**_DEFAULTS, **results, "title": title, "claims": claims}, (), drawings, _NOTE)


_DEFAULTS: Mapping[str, Any] = {"missing": [], "device": "unknown", "git_commits": [], "versions": {}}


def _said_since(present: Sequence[Claim], claim: Mapping[str, Any]) -> dict[str, Any]:
    """The unit and the published value of a claim of a former version, if its rule is the same today."""
    for one in present:
        if (one.text, one.rule) == (claim["claim"], claim["rule"]):
            unit = {"unit": vars(one.unit)} if one.unit is not None else {}
            return unit | ({"published_value": one.published_value} if one.published_value is not None else {})
    return {}


def _drawing(name: str, file: Path) -> Drawing:
    """A PNG file as an SVG of its natural size that holds it."""
    content = file.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # of the first chunk, IHDR
    size = f'width="{width / _DOTS_PER_POINT:.1f}pt" height="{height / _DOTS_PER_POINT:.1f}pt"'
    picture = (
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{base64.b64encode(content).decode()}"/>'
    )
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}">{picture}</svg>'
    return Drawing(name, f"{name.replace('_', ' ').capitalize()}.", svg)
