"""A study of two tiny runs of mixtures, whose directories hold every file that moefacts writes into one."""

import shutil
from dataclasses import replace
from pathlib import Path

from moefacts.experiments.studies import catalog
from moefacts.runs import layout, tables
from tests.experiments.engine.tiny_study import tiny_study
from tests.torture import commands

NAME = "faulty"
MIXTURE = (
    "model=moe_laptop",
    "model.activation=swiglu",
    "model.moe.num_experts=4",
    "model.moe.d_expert=16",
    "evaluation.interval=3",
    "evaluation.interval_control=3",
)


def add_to_catalog() -> None:
    """Make the study one that can be typed."""
    catalog.STUDIES[NAME] = replace(tiny_study(NAME, extra=MIXTURE), probes=tuple(tables.PROBES))


def train(folder: Path) -> tuple[Path, Path, Path]:
    """Train and probe the study in ``folder``; return it, its first run, and a half-done copy of that."""
    add_to_catalog()
    study = folder / NAME
    outcome = commands.run(folder, "reproduce", NAME, "--launcher", "basic", "--out", str(study))
    assert outcome.code == 0, outcome
    run = min(path.parent for path in study.glob(f"*/{layout.CONFIG}"))
    return study, run, half_done(run, folder / "half")


def half_done(run: Path, copy: Path) -> Path:
    """Copy a finished run to ``copy`` as if it had been interrupted after its last checkpoint but one."""
    shutil.copytree(run, copy)
    shutil.rmtree(layout.checkpoint_folder(copy, layout.checkpoint_steps(copy)[-1]))
    manifest = copy / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace('"state": "finished"', '"state": "interrupted"'))
    return copy
