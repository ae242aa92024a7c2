"""Helpers that compare runs, and one that stops a run."""

import torch
from safetensors.torch import load_file

from moefacts.runs import layout
from moefacts.runs.records import read_metrics


def records(run):
    """Everything that was logged except the speed."""
    lines = read_metrics(run / layout.METRICS)
    return [{k: v for k, v in record.items() if not k.startswith("throughput/")} for record in lines]


def weights(run):
    folder = layout.checkpoint_folder(run, layout.checkpoint_steps(run)[-1])
    return load_file(folder / "model.safetensors")


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class StopAt:
    """Acts like a signal that arrives during the given step."""

    def __init__(self, trainer, step):
        self.trainer, self.step = trainer, step

    @property
    def signal_number(self):
        return 15 if self.trainer.state.step == self.step else None
