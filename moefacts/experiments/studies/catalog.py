"""All studies by name, in the order in which ``moefacts reproduce all`` runs them."""

from moefacts.errors import UserError, nearest
from moefacts.experiments.engine.study import Study
from moefacts.experiments.studies import (
    adaptive,
    alternating,
    attention,
    celebrities,
    dense_vs_moe,
    distributions,
    emergence,
    finetune,
    finetune_methods,
    finetune_moe,
    hallucination,
    hallucination_methods,
    knowing_and_hallucinating,
    law_capacity,
    law_causes,
    layers,
    leaving,
    patching,
    phases,
    plateau_law,
    power_law,
    rare_but_seen,
    replay,
    robustness,
    sequential,
    spurious_forgetting,
    templates,
    toy_memory,
    warmup,
)

_IN_ORDER = (
    plateau_law,
    phases,
    attention,
    patching,
    robustness,
    templates,
    power_law,
    celebrities,
    warmup,
    distributions,
    adaptive,
    sequential,
    dense_vs_moe,
)
STUDIES: dict[str, Study] = {module.STUDY.name: module.STUDY for module in _IN_ORDER}
_MORE = (
    plateau_law.RATES_STUDY,
    plateau_law.MIXTURES_STUDY,
    law_causes.STUDY,
    law_capacity.STUDY,
    leaving.STUDY,
    finetune.STUDY,
    replay.STUDY,
    rare_but_seen.STUDY,
    alternating.STUDY,
    finetune_methods.STUDY,
    finetune_moe.STUDY,
    spurious_forgetting.STUDY,
    dense_vs_moe.RATES_STUDY,
    toy_memory.STUDY,
    hallucination.STUDY,
    hallucination_methods.STUDY,
    knowing_and_hallucinating.STUDY,
    layers.STUDY,
    layers.MIXTURES_STUDY,
    emergence.STUDY,
)
STUDIES |= {study.name: study for study in _MORE}
ALL = "all"  # the studies of the paper, and the curriculum that it names as future work
_NOT_IN_ALL = (dense_vs_moe.STUDY.name, *(study.name for study in _MORE))


def find_studies(name: str, scale: str) -> list[Study]:
    """The study called ``name``, or those that ``all`` stands for at ``scale``; - and _ are the same in a name.

    Raises:
        UserError: there is no such study, or it has no runs at this scale; the message names the nearest.
    """
    if name == ALL:
        return [study for study in STUDIES.values() if study.name not in _NOT_IN_ALL and scale in study.grids]
    spelt = {known.replace("_", "-"): known for known in STUDIES}
    name = spelt.get(name.replace("_", "-"), name)
    if name not in STUDIES:
        raise UserError(f"there is no study '{name}'; {nearest(name, [*STUDIES, ALL])}")
    if scale not in STUDIES[name].grids:
        raise UserError(f"{name} has no scale {scale}; use --scale {' or '.join(STUDIES[name].grids)}")
    return [STUDIES[name]]
