"""How a run is trained, evaluated, saved and recorded: types, neutral values and checks. Values live in ``conf``."""

from dataclasses import dataclass, field

from moefacts.errors import UserError, check_at_least, check_choice
from moefacts.synthetic_data.cohorts import SEEN, UNSEEN

SCHEDULES = ("cosine", "constant")
METHODS = (  # of training.methods
    "full", "freeze", "l2_sp", "ewc", "lora", "esft", "sparse_memory", "new_experts", "self_distillation"
)  # fmt: skip
PRECISIONS = ("auto", "fp32", "bf16")
_MOST_CHECKPOINTS = 1_000_000
WANDB_MODES = ("disabled", "offline", "online")


@dataclass
class TrainingConfig:
    """How a run is optimised and when it stops. The two ``stop_`` rules are off when null.

    ``freeze`` (groups of weights) and ``start_penalty`` (λ) belong to the methods freeze, and l2_sp and ewc;
    ``config.methods`` has the settings of other methods, and checks them all.
    """

    steps: int
    batch_size: int
    learning_rate: float
    final_learning_rate: float
    schedule: str
    weight_decay: float
    beta1: float
    beta2: float
    clip_norm: float | None
    precision: str
    log_interval: int
    gradient_accumulation: int = 1
    compile: bool = False
    stop_at_accuracy: float | None = None
    stop_after_plateau: int | None = None
    method: str = "full"
    freeze: list[str] = field(default_factory=list)
    start_penalty: float | None = None

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        for key in ("steps", "batch_size", "gradient_accumulation", "log_interval"):
            check_at_least(f"training.{key}", getattr(self, key), 1)
        for key in ("learning_rate", "final_learning_rate", "weight_decay", "beta1", "beta2"):
            check_at_least(f"training.{key}", getattr(self, key), 0)
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UserError(f"training.clip_norm={self.clip_norm} must be positive, or null for no clipping")
        for key in ("beta1", "beta2"):
            if getattr(self, key) >= 1:
                raise UserError(f"training.{key}={getattr(self, key)} is too large; it must be below 1")
        check_choice("training.schedule", self.schedule, SCHEDULES)
        check_choice("training.method", self.method, METHODS)
        check_at_least("training.start_penalty", self.start_penalty, 0)
        check_choice("training.precision", self.precision, PRECISIONS)
        check_at_least("training.stop_after_plateau", self.stop_after_plateau, 0)
        if self.stop_at_accuracy is not None and not 0 < self.stop_at_accuracy <= 1:
            raise UserError(f"training.stop_at_accuracy={self.stop_at_accuracy} must lie in (0, 1]")
        if self.batch_size % self.gradient_accumulation:
            raise UserError(
                f"training.gradient_accumulation={self.gradient_accumulation} must divide "
                f"training.batch_size={self.batch_size}"
            )


@dataclass
class EvaluationConfig:
    """Which cohorts are evaluated, how often, and on how many biographies of each.

    The first of ``cohorts`` is the one whose plateau the run follows. It is evaluated every ``interval`` steps until
    the plateau ends. ``interval_early``, a multiple of ``interval``, applies while the training batches say that the
    plateau's start or end is far away. ``interval_unseen``, another multiple, applies to the other cohorts: they are
    evaluated at the first and the last step, and at the evaluated steps in between that it divides. Null means that
    ``interval`` applies. At the multiples of ``interval_control`` among the evaluated steps, and at the last, the first
    cohort is also evaluated with permuted values, which says what its loss is without knowledge; null means never.
    Besides, all cohorts are evaluated at the steps ``also_at``.
    """

    biographies: int
    interval: int
    interval_after_plateau: int
    plateau_threshold: float
    batch_size: int
    interval_early: int | None = None
    interval_unseen: int | None = None
    interval_control: int | None = None
    cohorts: list[str] = field(default_factory=lambda: [SEEN, UNSEEN])
    also_at: list[int] = field(default_factory=list)

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        check_at_least("evaluation.biographies", self.biographies, 2)
        for key in ("interval", "interval_after_plateau", "batch_size"):
            check_at_least(f"evaluation.{key}", getattr(self, key), 1)
        for key in ("interval_early", "interval_unseen", "interval_control"):
            value = getattr(self, key)
            if value is not None and (value < self.interval or value % self.interval):
                raise UserError(
                    f"evaluation.{key}={value} must be a positive multiple of evaluation.interval={self.interval}"
                )
        for step in self.also_at:
            check_at_least("evaluation.also_at", step, 0)
        if not 0 < self.plateau_threshold < 1:
            raise UserError(f"evaluation.plateau_threshold={self.plateau_threshold} must lie between 0 and 1")
        if not self.cohorts or len(set(self.cohorts)) < len(self.cohorts):
            raise UserError(f"evaluation.cohorts={self.cohorts} must name at least one cohort, each once")


@dataclass
class CheckpointConfig:
    """When checkpoints are kept: every ``interval`` steps up to ``interval_until``, then ``num_uniform`` evenly spaced.

    So is the checkpoint of the evaluation that ends the plateau, whatever its step. The newest ``keep_optimizer`` keep
    their optimizer state.
    """

    interval: int
    interval_until: int
    num_uniform: int
    keep_optimizer: int

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        check_at_least("checkpoints.interval", self.interval, 1)
        check_at_least("checkpoints.interval_until", self.interval_until, 0)
        check_at_least("checkpoints.num_uniform", self.num_uniform, 0)
        check_at_least("checkpoints.keep_optimizer", self.keep_optimizer, 1)

    def check_number(self, steps: int) -> None:
        """Raise ``UserError`` when a run of ``steps`` steps would keep more checkpoints than anybody can store."""
        until = min(self.interval_until, steps)
        number = until // self.interval + min(self.num_uniform, steps - until)
        if number > _MOST_CHECKPOINTS:
            key = "interval_until" if until // self.interval > _MOST_CHECKPOINTS // 2 else "num_uniform"
            raise UserError(
                f"checkpoints.{key}={getattr(self, key)} is too large for training.steps={steps}: {number:,} "
                f"checkpoints would be kept; at most {_MOST_CHECKPOINTS:,} can be"
            )


@dataclass
class PatchingConfig:
    """Attention patching (study, section 4); off when ``reference_step`` is null.

    From step ``start`` on, the softmax attention of a reference replaces the model's own. The reference is the
    checkpoint ``reference_step`` of the same run without patching.
    """

    reference_step: int | None = None
    start: int = 0

    @property
    def is_on(self) -> bool:
        """Whether any attention is patched."""
        return self.reference_step is not None

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        check_at_least("patching.reference_step", self.reference_step, 0)
        check_at_least("patching.start", self.start, 0)


@dataclass
class InitConfig:
    """The weights that training starts from: those of another run, or fresh ones when ``run`` is null.

    ``moefacts finetune`` sets all three. What the run computes depends on ``source`` and ``step`` alone, so the other
    run's directory may lie elsewhere on another machine. It is read once, when training starts.

    Attributes:
        run: the directory of the other run.
        step: its checkpoint.
        source: the digest of its identity (``config.identity.digest``).
    """

    run: str | None = None
    step: int | None = None
    source: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether training starts from the weights of another run."""
        return self.run is not None

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        check_at_least("init.step", self.step, 0)
        if self.run == "":
            raise UserError("init.run must not be empty; leave it out for fresh weights")
        if len({self.run is None, self.step is None, self.source is None}) > 1:
            raise UserError("init.run, init.step and init.source go together; moefacts finetune RUN sets all three")


@dataclass
class WandbConfig:
    """Settings of Weights & Biases, which mirrors the metrics file and is never the record."""

    mode: str
    project: str
    entity: str | None

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        check_choice("wandb.mode", self.mode, WANDB_MODES)


@dataclass
class RunLocation:
    """Where a run is kept: in ``dir``, or else in ``root``/``study``/``name``. A null name is made from the config."""

    root: str
    study: str
    name: str | None
    dir: str | None


@dataclass
class DatasetConfig:
    """How many biographies ``moefacts generate`` writes to each split, and how many it holds at a time."""

    train: int
    validation: int
    unseen: int
    rows_per_group: int

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        for key in ("train", "validation", "unseen", "rows_per_group"):
            check_at_least(f"dataset.{key}", getattr(self, key), 1)
