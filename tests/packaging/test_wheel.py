"""What ``pip install .`` puts into an environment is all that the commands need, outside of a checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import TINY

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The unpacked wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "moefacts", source / "moefacts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["wheel", str(source), "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "installed")
    return folder / "installed"


def test_the_wheel_has_every_file_of_the_package(installed):
    def files(package):
        every = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
        return {path for path in every if "__pycache__" not in path.parts}

    assert files(installed / "moefacts") == files(ROOT / "moefacts")


@pytest.mark.slow
def test_commands_run_from_the_wheel(installed, tmp_path):
    def moefacts(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        command = [sys.executable, "-m", "moefacts", *arguments]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
        return result.stdout

    where = [sys.executable, "-c", "import moefacts; print(moefacts.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True)
    assert found.stdout.decode().startswith(str(installed))
    moefacts("train", *TINY, "run.dir=run")
    assert "plateau_end" in moefacts("analyze", "run")
    assert (tmp_path / "run" / "report.html").exists()
    moefacts("explore", "run", "--people", "1")
    moefacts("reproduce", "phases", *TINY, "evaluation.cohorts=[seen,unseen]")
    assert (tmp_path / "runs").exists()
