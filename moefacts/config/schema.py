"""The schema of a run's configuration. A section's dataclass lives beside the code that reads it, or in ``sections``.

A field's default is its neutral value, which means "as before the setting existed". A run's identity leaves neutral
values out, and an older stored configuration is read with them filled in. Every added setting must have one. The values
that a new run uses are in ``conf`` alone.
"""

from dataclasses import dataclass, field

from moefacts.config.methods import MethodConfig, check_method
from moefacts.config.sections import (
    CheckpointConfig,
    DatasetConfig,
    EvaluationConfig,
    InitConfig,
    PatchingConfig,
    RunLocation,
    TrainingConfig,
    WandbConfig,
)
from moefacts.config.uncertainty import UncertaintyConfig, check_uncertainty
from moefacts.errors import UserError, check_at_least, check_choice
from moefacts.models.architecture import ModelConfig
from moefacts.synthetic_data.distribution_kinds import SamplingConfig
from moefacts.synthetic_data.population import PopulationConfig
from moefacts.synthetic_data.tokenizer import TOKENIZERS

DEVICES = ("auto", "cpu", "cuda")
PARALLEL = ("ddp", "fsdp")
MOST_THREADS = 1024  # a million crash torch


@dataclass
class RunConfig:
    """Everything that determines a run."""

    scale: str
    seed: int
    device: str
    threads: int
    tokenizer: str
    population: PopulationConfig
    model: ModelConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    checkpoints: CheckpointConfig
    dataset: DatasetConfig
    wandb: WandbConfig
    run: RunLocation
    parallel: str = "ddp"
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    patching: PatchingConfig = field(default_factory=PatchingConfig)
    init: InitConfig = field(default_factory=InitConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        check_choice("device", self.device, DEVICES)
        check_choice("parallel", self.parallel, PARALLEL)
        check_choice("tokenizer", self.tokenizer, TOKENIZERS)
        check_at_least("threads", self.threads, 1)
        if self.threads > MOST_THREADS:
            raise UserError(f"threads={self.threads} is too large; it must be at most {MOST_THREADS}")
        check_at_least("seed", self.seed, 0)
        if self.seed >= 1 << 63:
            raise UserError(f"seed={self.seed} is too large; it must be below 2**63")
        if self.run.dir == "" or self.run.root == "":
            raise UserError("run.dir and run.root must not be empty; leave them out for the default")
        for key in ("study", "name"):
            value = getattr(self.run, key)
            if value is not None and not _is_name(value):
                raise UserError(f"run.{key}={value} must be the name of one folder; run.dir takes a path")
        for key, value in (("scale", self.scale), ("model.preset", self.model.preset)):  # parts of names of folders
            if not _is_name(value):
                raise UserError(f"{key}={value} must be the name of a preset, without folders")
        parts = (self.population, self.training, self.evaluation, self.checkpoints, self.dataset, self.wandb)
        for part in (*parts, self.patching, self.init, self.method, self.uncertainty):
            part.check()
        self.checkpoints.check_number(self.training.steps)
        self._check_patching()
        self.sampling.check(self.population, self.training.steps)
        if self.sampling.replay_values is not None and not self.init.is_on:
            raise UserError(
                f"sampling.replay_values={self.sampling.replay_values} are those of another run's model; use moefacts "
                "finetune RUN"
            )
        for cohort in self.evaluation.cohorts:
            self.population.cohort_range(cohort)
        try:
            self.model.check()
        except ValueError as error:
            raise UserError(str(error)) from None
        check_method(self)
        check_uncertainty(self)

    def _check_patching(self) -> None:
        if not self.patching.is_on:
            return
        if self.init.is_on:
            raise UserError("patching does not work with init.run: the reference would be a run with fresh weights")
        if self.model.mixer != "attention":
            raise UserError(f"patching needs attention to patch; model.mixer={self.model.mixer} has none")
        if self.training.compile:
            raise UserError("patching does not work with training.compile=true; set training.compile=false")


def _is_name(text: str) -> bool:
    """Whether ``text`` can name a folder: it leads neither into another one nor out of one."""
    return text not in ("", ".", "..") and not set(text) & {"/", "\0"}
