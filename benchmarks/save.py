"""How long saving a checkpoint takes, by default of the preset with the most parameters; checksums apart.

A run that receives a signal saves its state, and many schedulers wait 10 s for that. The checkpoint goes into the
folder for temporary files (``TMPDIR``), so name one on the disk that runs are on. A save waits for that disk, so the
seconds are those of the clock; those of computing are what it takes at least, however fast the disk is.
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks.setting import Result, Row, Setting
from moefacts.experiments.tasks.materials import prepare
from moefacts.runs import layout
from moefacts.training.checkpoint import MODEL, OPTIMIZER, STATE, LoopState, save_checkpoint
from moefacts.training.checksums import write_checksums
from moefacts.training.optimizer import build_optimizer

GOAL = 10.0
_PEOPLE = ("population.size=100", "population.unseen=100")  # they are in no checkpoint


def run(setting: Setting) -> Result:
    """Save a checkpoint once a round."""
    config = setting.config("scale=paper", "model=moe_44m_switch", *_PEOPLE)
    model = prepare(config).model
    optimizer = build_optimizer(model, config.training)
    for parameter in model.parameters():
        moments = {"exp_avg": parameter.detach().clone(), "exp_avg_sq": parameter.detach().clone()}
        optimizer.state[parameter] = {"step": torch.tensor(1.0), **moments}
    seconds, computing, of_checksums, num_bytes = [], [], [], 0
    for _ in range(setting.rounds):
        with tempfile.TemporaryDirectory() as name:
            started, cpu_started = time.perf_counter(), time.process_time()
            save_checkpoint(Path(name), model, optimizer, LoopState())
            seconds.append(time.perf_counter() - started)
            computing.append(time.process_time() - cpu_started)
            folder = layout.checkpoint_folder(Path(name), 0)
            cpu_started = time.process_time()
            write_checksums(folder, (MODEL, OPTIMIZER, STATE))
            of_checksums.append(time.process_time() - cpu_started)
            num_bytes = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bytes": num_bytes,
        "seconds": {"median": median(seconds), "longest": max(seconds)},
        "cpu_seconds": median(computing),
        "cpu_seconds_of_checksums": median(of_checksums),
    }


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    size = f"{result['bytes'] / 1e9:.2f} GB, {result['parameters'] / 1e6:,.0f}M parameters"
    middle, longest = result["seconds"]["median"], result["seconds"]["longest"]
    return [
        Row(f"saving {size}", f"{middle:.1f} s, longest {longest:.1f} s", f"≤ {GOAL:.0f} s", longest <= GOAL),
        Row("of it computing", f"{result['cpu_seconds']:.1f} s of one core"),
        Row("of that checksums", f"{result['cpu_seconds_of_checksums']:.1f} s of one core"),
    ]
