"""The settings that teach a model what it does not know, and what they do not go with. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moefacts.errors import UserError, check_choice
from moefacts.synthetic_data.cohorts import STRANGERS, common

if TYPE_CHECKING:
    from moefacts.config.schema import RunConfig

PRIOR, UNKNOWN = "prior", "unknown"
TARGETS = (PRIOR, UNKNOWN)
UNKNOWN_VALUE, IDK = "unknown", "[IDK]"  # answers that are no value of an attribute
_MOST_IDK = 0.5  # with more, the target could be [IDK] where the model is nearly right (arXiv 2412.06676)


@dataclass
class UncertaintyConfig:
    """What is added to the loss so that the model is less sure where it knows nothing; all off when null.

    Attributes:
        strangers: what is taught of people of the cohort ``strangers``: ``prior``, that all values of an attribute are
            equally likely, or ``unknown``, that every value is "unknown".
        stranger_share: how many strangers are shown beside the people who are learned: this share of
            ``training.batch_size``. Their mean loss per token is added with this weight.
        idk_factor: Π of the [IDK] token, whose weight in the target of a wrong answer is Π · (1 − p_gold / p_max).
        label_smoothing: ε; the target of a value's token is (1 − ε) · gold + ε · uniform over the vocabulary.
        confidence_penalty: λ of λ · (ln C + Σ p ln p), added at the tokens of values; C is the size of the vocabulary.
    """

    strangers: str | None = None
    stranger_share: float | None = None
    idk_factor: float | None = None
    label_smoothing: float | None = None
    confidence_penalty: float | None = None

    @property
    def abstentions(self) -> tuple[str, ...]:
        """The answers beside the values that the model is taught."""
        return (UNKNOWN_VALUE,) * (self.strangers == UNKNOWN) + (IDK,) * (self.idk_factor is not None)

    @property
    def changes_values(self) -> bool:
        """Whether the loss of the people who are learned changes, at the tokens of their values."""
        return any(value is not None for value in (self.idk_factor, self.label_smoothing, self.confidence_penalty))

    def num_strangers(self, batch_size: int) -> int:
        """How many strangers each step shows; 0 when they are off."""
        return 0 if self.stranger_share is None else round(self.stranger_share * batch_size)

    def check(self) -> None:
        """Raise ``UserError`` when a value makes no sense."""
        if self.strangers is not None:
            check_choice("uncertainty.strangers", self.strangers, TARGETS)
        if (self.strangers is None) != (self.stranger_share is None):
            missing = "stranger_share" if self.stranger_share is None else "strangers"
            raise UserError(
                f"uncertainty.strangers and uncertainty.stranger_share go together; uncertainty.{missing} is null"
            )
        for key, most in (("stranger_share", 1), ("idk_factor", _MOST_IDK)):
            value = getattr(self, key)
            if value is not None and not 0 < value <= most:
                raise UserError(f"uncertainty.{key}={value} must lie in (0, {most}], or be null for off")
        if self.label_smoothing is not None and not 0 < self.label_smoothing < 1:
            raise UserError(
                f"uncertainty.label_smoothing={self.label_smoothing} must lie in (0, 1), or be null for off"
            )
        if self.confidence_penalty is not None and not self.confidence_penalty > 0:
            raise UserError(
                f"uncertainty.confidence_penalty={self.confidence_penalty} must be positive, or null for off"
            )


def check_uncertainty(config: RunConfig) -> None:
    """Raise ``UserError`` when these settings do not fit the run."""
    uncertainty, training = config.uncertainty, config.training
    is_on = uncertainty.changes_values or uncertainty.strangers is not None
    if is_on and training.compile:
        raise UserError("uncertainty.* does not work with training.compile=true; leave it out")
    if uncertainty.idk_factor is not None and config.tokenizer != "word":
        raise UserError(
            f"uncertainty.idk_factor needs a token that tokenizer={config.tokenizer} does not have; use tokenizer=word"
        )
    if uncertainty.strangers is None:
        return
    people = config.population.cohort_range(STRANGERS)
    for cohort in config.sampling.cohorts:
        if shared := common(people, config.population.cohort_range(cohort)):
            raise UserError(
                f"{len(shared)} of the people who are learned, {cohort}, are strangers, of whom nothing is to be "
                "known; learn others"
            )
    if not uncertainty.num_strangers(training.batch_size):
        raise UserError(
            f"uncertainty.stranger_share={uncertainty.stranger_share} of training.batch_size={training.batch_size} is "
            "less than one stranger; raise it"
        )
    if config.patching.is_on:
        raise UserError("uncertainty.strangers does not work with patching; leave one of them out")
    if config.parallel == "fsdp":
        raise UserError("uncertainty.strangers does not work with parallel=fsdp; use parallel=ddp")
