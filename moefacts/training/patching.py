"""Attention patching: train a twin of a run with the attention of one of the run's checkpoints (study, Figures 3, D).

The twin starts from the run's initial weights and sees the same samples, because both follow from the same settings.
"""

import copy
import dataclasses

import torch
from torch import Tensor

from moefacts.config.schema import RunConfig
from moefacts.config.sections import PatchingConfig
from moefacts.errors import UserError
from moefacts.models.packing import Packing
from moefacts.models.transformer import ATTENTION, Transformer
from moefacts.runs import layout
from moefacts.runs.fingerprint import check_population
from moefacts.runs.location import run_directory
from moefacts.runs.manifest import read_manifest
from moefacts.training.checkpoint import load_weights


def reference_config(config: RunConfig) -> RunConfig:
    """The configuration of the run whose checkpoint lends its attention: the same study and settings, unpatched."""
    location = dataclasses.replace(config.run, name=None, dir=None)
    return dataclasses.replace(config, patching=PatchingConfig(), run=location)


class Patch:
    """A reference model whose attention replaces a model's own from step ``start`` on."""

    def __init__(self, reference: Transformer, start: int):
        self.reference = reference.eval().requires_grad_(False)
        self.start = start

    @torch.no_grad()
    def patterns(self, step: int, token_BT: Tensor, packing: Packing) -> list[Tensor] | None:
        """The reference's attention of every layer, shape (B, H, T, T); None before ``start``."""
        if step < self.start:
            return None
        return list(self.reference(token_BT, packing, keep={ATTENTION}).attention.values())


def load_patch(config: RunConfig, model: Transformer) -> Patch | None:
    """The patch that ``config`` asks for, or None; ``model`` determines its shape and device.

    Raises:
        UserError: the reference run has not been trained, or has no checkpoint of that step.
    """
    step = config.patching.reference_step
    if step is None:
        return None
    run = run_directory(reference_config(config))
    if not (run / layout.MANIFEST).exists():
        raise UserError(f"patching needs the run {run}, which does not exist; train it first, without patching")
    steps = layout.checkpoint_steps(run)
    if step not in steps:
        raise UserError(f"patching.reference_step={step}: {run} has no such checkpoint; it has those of steps {steps}")
    check_population(run, config, read_manifest(run))
    reference = copy.deepcopy(model)
    load_weights(run, step, reference)
    return Patch(reference, config.patching.start)
