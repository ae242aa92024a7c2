"""From which checkpoint a run can go on: the newest that is whole and whose records are still in the metrics file."""

import shutil
from pathlib import Path

from safetensors import SafetensorError, safe_open

from moefacts.errors import UserError
from moefacts.runs import layout
from moefacts.runs.records import intact_records
from moefacts.training.checkpoint import MODEL, OPTIMIZER, load_state
from moefacts.training.checksums import verify


def resumable_step(run: Path) -> tuple[int | None, str]:
    """The step of the newest checkpoint from which ``run`` can go on, and what is wrong with those after it.

    The step is None, and nothing is wrong, when there is no checkpoint at all.

    Raises:
        UserError: there are checkpoints, and training can go on from none of them.
    """
    steps = layout.checkpoint_steps(run)
    records, metrics_problem = intact_records(run / layout.METRICS)
    problems: list[str] = []
    for step in reversed(steps):
        problem = _problem(run, step, len(records), metrics_problem)
        if problem is None:
            return step, "; ".join(problems)
        problems.append(f"cannot resume from step {step}: {problem}")
    if problems:
        raise UserError(f"{problems[0]}; no earlier checkpoint can be resumed, so train the run in another run.dir")
    return None, ""


def drop_checkpoints_after(run: Path, step: int) -> None:
    """Remove the checkpoints after ``step``; the training that goes on there writes them again."""
    for later in layout.checkpoint_steps(run):
        if later > step:
            shutil.rmtree(layout.checkpoint_folder(run, later))


def _problem(run: Path, step: int, num_records: int, metrics_problem: str) -> str | None:
    """Why training cannot go on from the checkpoint of ``step``; None when it can."""
    folder = layout.checkpoint_folder(run, step)
    try:
        for file in (MODEL, OPTIMIZER):
            verify(folder / file)
            with safe_open(folder / file, framework="pt"):
                pass  # which reads where its tensors are, so that a file that was cut short is noticed
        needed = load_state(run, step).records
    except UserError as error:
        return str(error)
    except FileNotFoundError:
        return f"{folder / file} is missing"
    except (SafetensorError, OSError, ValueError) as error:
        return f"{folder / file} is damaged ({str(error).splitlines()[0]})"
    if num_records < needed:
        counts = f"{needed} were written before it, but {num_records} are intact"
        return f"{run / layout.METRICS} has lost records: {counts}" + f" ({metrics_problem})" * bool(metrics_problem)
    return None
