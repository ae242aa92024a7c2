"""Train one run in its run directory, from population and model to the confidence probe."""

import dataclasses
import shlex
import sys
from pathlib import Path

import torch

from moefacts.config.presets import overrides_of
from moefacts.config.schema import RunConfig
from moefacts.errors import is_full_disk
from moefacts.experiments.tasks.compiling import compiler_explained
from moefacts.experiments.tasks.materials import Materials, device_memory, prepare
from moefacts.experiments.tasks.memory import check_memory, need_of_training, out_of_memory_explained
from moefacts.models.architecture import parameter_counts
from moefacts.probes.confidence import confidence_table
from moefacts.runs import layout
from moefacts.runs.location import run_directory
from moefacts.runs.manifest import sha256_of
from moefacts.runs.records import intact_records
from moefacts.runs.tables import CONFIDENCE
from moefacts.training.distributed import check_processes, from_main, is_main, world_size
from moefacts.training.finetuning.self_replay import accuracy_of_replay
from moefacts.training.initial import load_initial_weights
from moefacts.training.interrupt import StopRequest
from moefacts.training.logger import WANDB_ID, id_of_mirror, open_mirror
from moefacts.training.loop import Trainer
from moefacts.training.patching import Patch, load_patch
from moefacts.training.progress import ProgressDisplay
from moefacts.training.resuming import drop_checkpoints_after, resumable_step
from moefacts.training.run_directory import RunDirectory, counts_as_dict, provenance, shared_run_directory


def execute(config: RunConfig, extend: bool = False) -> Path:
    """Train the run that ``config`` describes, or the rest of it, and return its directory.

    Args:
        config: the configuration.
        extend: whether the run may be there with fewer steps; it then goes on.

    Raises:
        UserError: the configuration or the run directory is wrong.
        Interrupted: a signal was received; the state is saved.
    """
    check_processes(config.training, config.uncertainty.strangers is not None)
    need = need_of_training(config, world_size())
    check_memory(need, device_memory(config))
    with out_of_memory_explained(need), compiler_explained(), StopRequest() as stop:
        materials = prepare(config)  # wrong settings raise errors here, before anything is written
        patch = load_patch(config, materials.model)
        seen_before = load_initial_weights(config, materials.model)
        with shared_run_directory(run_directory(config), config, extend) as run:
            if run.is_finished and not from_main(intact_records(run.path / layout.METRICS)[1]):
                _say(f"{run.path} is already finished")
            else:
                _train(config, materials, run, stop, patch, seen_before)
    return run.path


def _train(
    config: RunConfig,
    materials: Materials,
    run: RunDirectory,
    stop: StopRequest,
    patch: Patch | None,
    seen_before: list[list[int]] | None,
) -> None:
    path, population = run.path, materials.batcher.population
    trainer = Trainer(config, materials.model, materials.batcher, run, patch)
    step, problem = from_main(resumable_step(path) if is_main() else (None, ""))
    if step is not None:
        trainer.resume(step)
        if is_main():
            drop_checkpoints_after(path, step)
        _say(f"{path}: resuming from step {step}" + f", because it {problem}" * bool(problem))
    else:
        run.truncate_metrics(0)
    mirror_id = id_of_mirror(config.wandb, run.manifest.get(WANDB_ID))
    run.update_manifest(
        state="running",
        **({} if mirror_id is None else {WANDB_ID: mirror_id}),
        command=_command(config),
        processes=world_size(),
        **provenance(_device_name(materials.device)),
        parameters=counts_as_dict(parameter_counts(config.model, materials.model.vocab_size)),
        trained_parameters=trainer.step.partial.num_trained,
        vocab_size=materials.model.vocab_size,
        population_fingerprint=population.fingerprint,
        no_knowledge_baseline=population.no_knowledge_baseline,
        no_knowledge_baseline_by_attribute=population.no_knowledge_baseline_A.tolist(),
        resumed_from=step,
        config_sha256=sha256_of(path / layout.CONFIG),
        **({} if seen_before is None else {"seen_before": seen_before}),
        **_replayed(config, trainer),
    )
    state = "failed"
    try:
        mirror = open_mirror(config.wandb, path, dataclasses.asdict(config), mirror_id)
        try:
            with ProgressDisplay(path.name, config.training.steps, trainer.baseline) as display:
                trainer.train(mirror, stop, display)
        finally:
            mirror.close()
        with trainer.moment() as moment:
            confidence = confidence_table(moment, trainer.evaluators)
        if is_main():
            CONFIDENCE.write(path, confidence)
        state = "finished"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    except OSError as error:
        state = "interrupted" if is_full_disk(error) else "failed"
        raise
    finally:
        _record_end(run, trainer, state)


def _replayed(config: RunConfig, trainer: Trainer) -> dict[str, float]:
    if config.sampling.replay_values is None:
        return {}
    truth, told = trainer.batcher.population, trainer.training_batcher.population
    return {"replay_accuracy": accuracy_of_replay(config, truth, told)}


def _say(line: str) -> None:
    if is_main():
        print(line, file=sys.stderr)


def _command(config: RunConfig) -> str:
    """The command that trains the same run."""
    overrides = overrides_of(config)
    if overrides is None:  # settings from the user's own files cannot be overrides, but the run stores all of them
        return "moefacts train --resume COPY  # COPY: a folder that holds only this run's config.yaml"
    return shlex.join(["moefacts", "train", *overrides])


def _record_end(run: RunDirectory, trainer: Trainer, state: str) -> None:
    """Record in the manifest how the run ended. If that fails, an exception already being raised takes precedence."""
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
