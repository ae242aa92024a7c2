"""The weights of another run, from which fine-tuning starts."""

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from moefacts.config.fields import config_keys
from moefacts.config.identity import digest
from moefacts.config.loader import read_config
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.models.transformer import Transformer
from moefacts.runs import layout
from moefacts.runs.fingerprint import check_population, same_people
from moefacts.runs.location import run_directory
from moefacts.runs.manifest import read_manifest
from moefacts.synthetic_data.cohorts import cohort_ranges
from moefacts.training.checkpoint import load_weights

ADDED = ".added."  # in the names of weights of experts that join a mixture
_KEPT = ("seed", "tokenizer", "population.")  # settings without which the weights mean something else
_MAY_DIFFER = "population.cohorts"  # only the names of people, unless they have other values


@dataclass(frozen=True)
class Source:
    """A run whose weights others can start from.

    Attributes:
        run: its directory.
        config: its settings.
        manifest: its manifest.
    """

    run: Path
    config: RunConfig
    manifest: dict[str, Any]

    @property
    def trained_on(self) -> list[list[int]]:
        """The individuals that its weights have seen, as pairs of the first and one more than the last."""
        population = self.config.population
        ranges = cohort_ranges(population.cohorts or {}, population.sizes)
        shown = [ranges[cohort] for cohort in self.config.sampling.cohorts]
        return [*self.manifest.get("seen_before", []), *([people.start, people.stop] for people in shown)]


def read_source(run: Path, step: int | None = None) -> tuple[Source, int]:
    """The run in a directory, and its checkpoint of ``step`` (default: the newest), for others to start from.

    Raises:
        UserError: it is no run, it was trained on other people than its settings describe, it has no such checkpoint,
            or its weights mean nothing by themselves.
    """
    source = Source(run, read_config(run / layout.CONFIG), read_manifest(run))
    check_population(run, source.config, source.manifest)
    if source.config.patching.is_on:
        raise UserError(f"{run} is patched; its weights are not usable without the attention of another checkpoint")
    steps = layout.checkpoint_steps(run)
    if not steps:
        raise UserError(f"{run} has no checkpoint to start from; train it first: moefacts train --resume {run}")
    if step is not None and step not in steps:
        raise UserError(f"{run} has no checkpoint of step {step}; it has those of steps {steps}")
    return source, steps[-1] if step is None else step


def source_of(config: RunConfig) -> Source:
    """The run whose weights ``config`` starts from.

    Raises:
        UserError: as ``read_source``; or it is another run than the one that was chosen, or one of other people.
    """
    init = config.init
    assert init.run is not None
    source, _ = read_source(Path(init.run), init.step)
    found = digest(source.config)
    if found != init.source:
        raise UserError(
            f"init.run={init.run} is another run than init.source={init.source} says (its digest is {found}); "
            f"use moefacts finetune {init.run}, which sets both"
        )
    _check_people(source, config)
    return source


def _check_people(source: Source, config: RunConfig) -> None:
    keys = [key for key in config_keys(RunConfig) if key.startswith(_KEPT) and not key.startswith(_MAY_DIFFER)]
    for key in keys:
        theirs, ours = attrgetter(key)(source.config), attrgetter(key)(config)
        if theirs != ours:
            raise UserError(f"{key}={ours}, but {source.run} was trained with {key}={theirs}; leave {key} out")
    theirs, ours = source.config.uncertainty.abstentions, config.uncertainty.abstentions
    if theirs != ours:
        theirs_text, ours_text = (" and ".join(words) or "neither unknown nor [IDK]" for words in (theirs, ours))
        raise UserError(
            f"uncertainty.* adds {ours_text} to the vocabulary, but that of {source.run} has {theirs_text}; use the "
            "same uncertainty.strangers and uncertainty.idk_factor as there"
        )
    if not same_people(config, source.manifest):
        raise UserError(
            f"population.cohorts give people other values than those with which {source.run} was trained; train it "
            "with the same cohorts first"
        )


def _joining(source: Source, config: RunConfig) -> str | None:
    """What the names of weights contain that the other run lacks and that stay fresh; None when it lacks nothing.

    The method new_experts gives the mixtures of the other run further experts. So ``model.moe.num_added`` is the one
    setting of the model that may differ from that run's.
    """
    if config.training.method != "new_experts":
        return None
    assert config.model.moe is not None
    if source.config.model.moe is None or source.config.model.moe.num_added:
        what = "no mixture" if source.config.model.moe is None else "experts that were added before"
        raise UserError(f"training.method=new_experts: {source.run} has {what}; start from a mixture without these")
    return ADDED


def load_initial_weights(config: RunConfig, model: Transformer) -> list[list[int]] | None:
    """Load the weights that training starts from into ``model``, unless they are the fresh ones that it has.

    A run that has begun keeps them in its own checkpoint of step 0, so the other run may be gone.

    Returns:
        The individuals that the weights have seen (``Source.trained_on``); None when the run has begun, or when
        weights are fresh.

    Raises:
        UserError: the other run is not what ``config`` says, or its weights do not fit the model.
    """
    if not config.init.is_on:
        return None
    own = run_directory(config)
    if 0 in layout.checkpoint_steps(own):
        load_weights(own, 0, model)
        return None
    source = source_of(config)
    assert config.init.step is not None
    load_weights(source.run, config.init.step, model, _joining(source, config))
    return source.trained_on
