"""What ``moefacts.load_study`` returns of the committed results."""

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
