"""The parts of a run (population, tokenizer, model) on a device, with fresh or trained weights."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch

from moefacts.config.loader import read_config
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.experiments.tasks.memory import check_memory, need_of_reading, out_of_memory_explained
from moefacts.models.transformer import Transformer, build_model
from moefacts.runs import layout
from moefacts.runs.fingerprint import check_population
from moefacts.runs.manifest import read_manifest
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import training_distribution
from moefacts.synthetic_data.tokenizer import build_tokenizer
from moefacts.training.checkpoint import load_weights

_ROUND, _ROUND_COMPILED = 8, 32  # batch widths are rounded up to multiples; fewer widths mean fewer compiled graphs


def pick_device(name: str) -> torch.device:
    """The device that ``name`` (auto, cpu or cuda) stands for on this machine.

    Raises:
        UserError: ``name`` is cuda and there is no CUDA device.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda, but there is no CUDA device here; use device=cpu or device=auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def device_memory(config: RunConfig) -> float | None:
    """The memory in bytes of the run's device; None for a CPU, whose memory is the machine's."""
    device = pick_device(config.device)
    return float(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else None


@dataclass(frozen=True)
class Materials:
    """The parts that a run is made of."""

    device: torch.device
    batcher: Batcher
    model: Transformer


def prepare(config: RunConfig) -> Materials:
    """Build population, tokenizer and a freshly initialised model on the run's device."""
    torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    population = build_population(config.population, config.seed)
    abstentions = config.uncertainty.abstentions
    tokenizer = build_tokenizer(config.tokenizer, population.pools, population.templates, abstentions)
    distribution = training_distribution(config.sampling, population, config.training.steps)
    round_to = _ROUND_COMPILED if config.training.compile else _ROUND
    batcher = Batcher(population, tokenizer, device, distribution, round_to, abstentions)
    model = build_model(config.model, tokenizer.vocab_size, config.seed).to(device)
    return Materials(device, batcher, model)


def load_before(path: Path, config: RunConfig, materials: Materials) -> Transformer | None:
    """The model from which the fine-tuning of a run started, in evaluation mode; None if its weights were fresh.

    Args:
        path: the run directory.
        config: the run's config.
        materials: its materials, as ``load_run`` returns both.

    Raises:
        UserError: its checkpoint is damaged.
    """
    if not config.init.is_on or 0 not in layout.checkpoint_steps(path):
        return None
    before = copy.deepcopy(materials.model)
    load_weights(path, 0, before)
    return before.eval()


def load_run(path: Path, step: int | None = None, device: str = "auto") -> tuple[RunConfig, Materials]:
    """A run's config and materials, with the model trained to ``step`` (default: newest) and in evaluation mode.

    Raises:
        UserError: the run, or its checkpoint, is missing or damaged, or its settings are not those of its population.
    """
    manifest, config = read_manifest(path), read_config(path / layout.CONFIG)
    check_population(path, config, manifest)
    steps = layout.checkpoint_steps(path)
    if not steps or (step is not None and step not in steps):
        raise UserError(f"{path} has no checkpoint" + (f" of step {step}; there are {steps}" if steps else " yet"))
    if config.patching.is_on:
        raise UserError(f"{path} is patched; its weights are not usable without the attention of another checkpoint")
    config.device = device
    need = need_of_reading(config)
    check_memory(need)
    chosen = steps[-1] if step is None else step
    with out_of_memory_explained(need):
        materials = prepare(config)
        try:
            load_weights(path, chosen, materials.model)
        except UserError as error:
            others = [one for one in steps if one != chosen]
            hint = "; ask and export take another checkpoint with --step, such as --step "
            raise UserError(f"{error}{f'{hint}{others[-1]}' if others else ''}") from None
    materials.model.eval()
    return config, materials
