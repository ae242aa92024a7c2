"""Where a run directory keeps its files."""

from pathlib import Path

CONFIG, MANIFEST, METRICS, LOCK = "config.yaml", "manifest.json", "metrics.jsonl", ".lock"
WRITING_LOCK = ".writing.lock"  # beside what is made from runs: probes, figures and reports
CHECKPOINTS, PROBES, FIGURES, REPORT = "checkpoints", "probes", "figures", "report.html"
EXPLORE = "explore.html"


def is_run_directory(path: Path) -> bool:
    """Whether ``path`` holds settings and something else that only a run writes, however damaged."""
    return (path / CONFIG).exists() and any((path / name).exists() for name in (MANIFEST, METRICS, CHECKPOINTS, LOCK))


def checkpoint_steps(run: Path) -> list[int]:
    """The steps at which a run has complete checkpoints, ascending."""
    names = (folder.name.removeprefix("step_") for folder in (run / CHECKPOINTS).glob("step_*"))
    return sorted(int(name) for name in names if name.isdecimal())


def checkpoint_folder(run: Path, step: int) -> Path:
    """Where the checkpoint of ``step`` is kept."""
    return run / CHECKPOINTS / f"step_{step:08d}"
