"""What ``moefacts.load_study`` returns of the committed results."""

import html
import json
from pathlib import Path

import pandas as pd
import pytest

import moefacts

RESULTS = Path(__file__).parents[2] / "results" / "laptop"
STUDIES = sorted(path.parent for path in RESULTS.parent.glob("*/*/results.json"))


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_every_committed_study_is_loaded(folder):
    study = moefacts.load_study(folder)
    assert study.name.replace("_", "-") in folder.name.replace("_", "-")
    assert set(study.verdicts.values()) <= {"holds", "does not hold", "cannot tell"}
    assert len(study.claims) == len(study.verdicts) > 0
    assert study.figures
    assert all(file.is_file() for file in study.figures.values())


def test_runs_are_those_of_the_table_beside_them():
    study = moefacts.load_study(str(RESULTS / "phases"))
    table = pd.read_csv(RESULTS / "phases" / "runs.csv")
    assert study.is_complete
    assert study.runs["run"].tolist() == table["run"].tolist()
    assert study.runs["plateau_end_interpolated"].tolist() == pytest.approx(table["plateau_end_interpolated"].tolist())


def test_a_folder_without_results_is_no_study(tmp_path):
    with pytest.raises(moefacts.UserError, match=r"is not a folder of a study: it has no results\.json"):
        moefacts.load_study(tmp_path)
    (tmp_path / "results.json").write_text('{"study": 3}')
    with pytest.raises(moefacts.UserError, match="got 3"):
        moefacts.load_study(tmp_path)


def test_a_page_is_written_from_stored_results_alone(tmp_path):
    study = moefacts.load_study(RESULTS / "dense_vs_moe")
    study.write_page(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert all(html.escape(claim) in page for claim in study.verdicts)
    assert page.count("data:image/png;base64,") == len(study.figures) > 0
    assert "points [19.0, 33.9] of accuracy" in page  # these results say no units; the claims of today do
    assert "Made from stored results" in page


def test_a_claim_whose_rule_is_another_one_today_gets_no_unit(tmp_path):
    stored = json.loads((RESULTS / "dense_vs_moe" / "results.json").read_text())
    for claim in stored["claims"]:
        claim["rule"] = "a former one"
    (tmp_path / "results.json").write_text(json.dumps(stored))
    moefacts.load_study(tmp_path).write_page(tmp_path / "page.html")
    assert "of accuracy" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_every_committed_study_has_a_page_with_a_lead_and_a_forest(folder):
    page = (folder / "report.html").read_text()
    assert 'class="found"' in page
    assert "prefers-color-scheme" in page
    assert len(page) < 1_500_000
