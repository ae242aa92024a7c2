"""Whether the files of a run, each as it should be by itself, lack nothing that analyses rely on."""

from itertools import product
from pathlib import Path
from typing import Any

from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.runs import keys, layout
from moefacts.synthetic_data.pools import ATTRIBUTES


def check_whole(run: Path, config: RunConfig, manifest: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """Raise ``UserError`` unless every evaluation in ``records`` has all that evaluations of such a run record."""
    baselines = len(manifest["no_knowledge_baseline_by_attribute"])
    if baselines != len(ATTRIBUTES):
        place = f"{run / layout.MANIFEST}: no_knowledge_baseline_by_attribute"
        raise UserError(f"{place}: got {baselines} numbers, expected {len(ATTRIBUTES)}")
    always, together = _always(config), _together(config)
    for record in records:
        recorded = record.keys()
        if any(key.startswith(keys.EVALUATION_PREFIXES) for key in recorded):
            _refuse(always - recorded, run, record)
        for group in together:
            missing = group - recorded
            if len(missing) < len(group):
                _refuse(missing, run, record)


def _always(config: RunConfig) -> set[str]:
    """What every evaluation records: the first cohort, and the load of every expert."""
    found = _of_cohort(config.evaluation.cohorts[0], keys.EVALUATED)
    moe = config.model.moe
    if moe is not None:
        for layer in moe.layer_numbers(config.model.num_layers):
            found.add(keys.routing_key(layer, keys.MAX_VIOLATION))
            found |= {keys.routing_key(layer, keys.LOAD_FRACTION, expert) for expert in range(moe.num_experts)}
    return found


def _together(config: RunConfig) -> list[set[str]]:
    """Sets of what an evaluation records either all or none of: the other cohorts, and the first one's control."""
    main, *others = config.evaluation.cohorts
    return [*(_of_cohort(cohort, keys.EVALUATED) for cohort in others), _of_cohort(main, (keys.CONTROL_LOSS,))]


def _of_cohort(cohort: str, measures: tuple[str, ...]) -> set[str]:
    return {keys.evaluation_key(cohort, *which) for which in product(measures, (None, *ATTRIBUTES))}


def _refuse(missing: set[str], run: Path, record: dict[str, Any]) -> None:
    if missing:
        place = f"{run / layout.METRICS}: step {record[keys.STEP]}: {min(missing)}"
        raise UserError(f"{place}: got nothing, expected a number")
