"""The tiny studies among those that can be typed, and one of them reproduced."""

import pytest

from moefacts.experiments.studies import catalog
from tests.experiments.engine import tiny_study
from tests.experiments.engine.reproducing import reproduce


@pytest.fixture
def tiny_studies(monkeypatch):
    monkeypatch.setattr(catalog, "STUDIES", dict(catalog.STUDIES))
    tiny_study.add_to_catalog()


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The tiny study, reproduced once; read only."""
    out = tmp_path_factory.mktemp("study") / "tiny"
    catalog.STUDIES["tiny"] = tiny_study.STUDY
    result = reproduce("tiny", "--launcher", "basic", "--out", out)
    del catalog.STUDIES["tiny"]
    assert result.exit_code == 0, (result.output, result.exception)
    return out
