"""One run: population, model, training, probes, in one run directory."""

import dataclasses
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from moefacts import run_files
from moefacts.config import RunConfig, read_config, run_directory
from moefacts.errors import UserError
from moefacts.models.architecture import parameter_counts
from moefacts.models.transformer import Transformer, build_model
from moefacts.presets import overrides_of
from moefacts.probes.confidence import write_confidence
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import training_distribution
from moefacts.synthetic_data.tokenizer import build_tokenizer
from moefacts.training.checkpoint import load_weights
from moefacts.training.distributed import check_processes, from_main, is_main, world_size
from moefacts.training.interrupt import StopRequest
from moefacts.training.logger import open_mirror
from moefacts.training.loop import Trainer
from moefacts.training.patching import Patch, load_patch
from moefacts.training.progress import ProgressDisplay
from moefacts.training.run_directory import RunDirectory, counts_as_dict, provenance, shared_run_directory

_ROUND, _ROUND_COMPILED = 8, 32  # widths of batches are multiples: the fewer there are, the fewer graphs to compile


def pick_device(name: str) -> torch.device:
    """The device that ``name`` (auto, cpu, cuda) stands for here.

    Raises:
        UserError: CUDA is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda, but there is no CUDA device here; use device=cpu or device=auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Materials:
    """What a run is made of."""

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
    tokenizer = build_tokenizer(config.tokenizer, population.pools, population.templates)
    distribution = training_distribution(config.sampling, population, config.training.steps)
    round_to = _ROUND_COMPILED if config.training.compile else _ROUND
    batcher = Batcher(population, tokenizer, device, distribution, round_to)
    model = build_model(config.model, tokenizer.vocab_size, config.seed).to(device)
    return Materials(device, batcher, model)


def load_run(path: Path, step: int | None = None) -> tuple[RunConfig, Materials]:
    """The config and the trained model of a run, at ``step`` or at its newest checkpoint.

    Raises:
        UserError: the run, or its checkpoint, is missing or damaged.
    """
    run_files.read_manifest(path)
    config = read_config(path / run_files.CONFIG)
    steps = run_files.checkpoint_steps(path)
    if not steps or (step is not None and step not in steps):
        raise UserError(f"{path} has no checkpoint" + (f" of step {step}; there are {steps}" if steps else " yet"))
    if config.patching.is_on:
        raise UserError(f"{path} is patched: without the attention of another checkpoint its weights mean nothing")
    config.device = "auto"
    materials = prepare(config)
    load_weights(path, steps[-1] if step is None else step, materials.model)
    return config, materials


def execute(config: RunConfig) -> Path:
    """Train the run that ``config`` describes, or what is left of it; return its directory.

    Raises:
        UserError: something about the configuration or the run directory is wrong.
        Interrupted: a signal came; the state is saved.
    """
    check_processes(config.training)
    with StopRequest() as stop:
        materials = prepare(config)  # whatever is wrong with the settings shows before anything is written
        patch = load_patch(config, materials.model)
        with shared_run_directory(run_directory(config), config) as run:
            if run.is_finished:
                _say(f"{run.path} is finished already")
            else:
                _train(config, materials, run, stop, patch)
    return run.path


def _train(config: RunConfig, materials: Materials, run: RunDirectory, stop: StopRequest, patch: Patch | None) -> None:
    path, population = run.path, materials.batcher.population
    trainer = Trainer(config, materials.model, materials.batcher, run, patch)
    steps = from_main(run_files.checkpoint_steps(path))
    if steps:
        trainer.resume(steps[-1])
        _say(f"{path}: resuming from step {steps[-1]}")
    else:
        run.truncate_metrics(0)
    run.update_manifest(
        state="running",
        command=_command(config),
        processes=world_size(),
        **provenance(_device_name(materials.device)),
        parameters=counts_as_dict(parameter_counts(config.model, materials.model.vocab_size)),
        vocab_size=materials.model.vocab_size,
        population_fingerprint=population.fingerprint,
        no_knowledge_baseline=population.no_knowledge_baseline,
        no_knowledge_baseline_by_attribute=population.no_knowledge_baseline_A.tolist(),
        resumed_from=steps[-1] if steps else None,
    )
    state = "failed"
    try:
        mirror = open_mirror(config.wandb, path, dataclasses.asdict(config))
        try:
            with ProgressDisplay(path.name, config.training.steps, trainer.baseline) as display:
                trainer.train(mirror, stop, display)
        finally:
            mirror.close()
        write_confidence(path, trainer)
        state = "finished"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    finally:
        _record_end(run, trainer, state)


def _say(line: str) -> None:
    if is_main():
        print(line, file=sys.stderr)


def _command(config: RunConfig) -> str:
    """What to type to train the same run."""
    overrides = overrides_of(config)
    if overrides is None:  # the settings come from files of the user's own; the resolved ones are in the directory
        return "moefacts train --resume COPY  # COPY: a folder with nothing but this run's config.yaml"
    return shlex.join(["moefacts", "train", *overrides])


def _record_end(run: RunDirectory, trainer: Trainer, state: str) -> None:
    """Say in the manifest how the run ended; on a full disk the exception on its way matters more."""
    try:
        run.update_manifest(
            state=state,
            last_step=trainer.state.step,
            tokens=trainer.state.tokens,
            plateau_end=trainer.state.plateau_end,
            wall_seconds=round(trainer.state.wall_seconds, 6),
        )
    except OSError:
        if state == "finished":
            raise


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
