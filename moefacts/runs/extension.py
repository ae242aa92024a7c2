"""Make a run longer: the same settings with more steps, where the steps so far do not depend on how many there are."""

import copy
from collections.abc import Sequence

from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.synthetic_data.distribution_kinds import KINDS

_SETTING = "training.steps"


def extended(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """The configuration of a run with the one override that a run can take after it has begun: ``training.steps``.

    Raises:
        UserError: there is another override, or the run cannot be made as long as that; the message says why.
    """
    others = [override for override in overrides if override.partition("=")[0] != _SETTING]
    if others:
        raise UserError(
            f"--resume uses the run's own configuration, in which only {_SETTING} can be raised; leave out "
            f"{' '.join(others)}"
        )
    text = overrides[-1].partition("=")[2]
    if not text.isdecimal():
        raise UserError(f"{_SETTING}={text} must be a whole number, such as {2 * config.training.steps}")
    longer = copy.deepcopy(config)
    longer.training.steps = int(text)
    longer.check()
    _check(config, longer.training.steps)
    return longer


def _check(config: RunConfig, now: int) -> None:
    before, kind = config.training.steps, config.sampling.kind
    if now < before:
        raise UserError(f"{_SETTING}={now} is less than the run's own {before}; it can only be raised")
    if config.training.schedule != "constant" and now > before:
        raise UserError(
            f"{_SETTING}={now}: the run has training.schedule={config.training.schedule}, so its learning rates so far "
            f"are those of {before} steps; only runs with training.schedule=constant can be made longer"
        )
    if KINDS[kind].is_stretched and now > before:
        raise UserError(
            f"{_SETTING}={now}: the run has sampling.kind={kind}, so whom it has shown so far depends on its {before} "
            "steps; it cannot be made longer"
        )
