"""All studies by name, in the order in which ``moefacts reproduce all`` runs them."""

from moefacts.errors import UserError, nearest
from moefacts.experiments.engine.study import Study
from moefacts.experiments.studies import (
    adaptive,
    attention,
    celebrities,
    dense_vs_moe,
    distributions,
    patching,
    phases,
    plateau_law,
    power_law,
    robustness,
    sequential,
    templates,
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
STUDIES |= {module.RATES_STUDY.name: module.RATES_STUDY for module in (plateau_law, dense_vs_moe)}
ALL = "all"  # the studies of the paper, and the curriculum that it names as future work
_NOT_IN_ALL = (plateau_law.RATES_STUDY.name, dense_vs_moe.STUDY.name, dense_vs_moe.RATES_STUDY.name)


def find_studies(name: str) -> list[Study]:
    """The study called ``name``, or those that ``all`` stands for.

    Raises:
        UserError: there is no such study; the message names the nearest.
    """
    if name == ALL:
        return [study for study in STUDIES.values() if study.name not in _NOT_IN_ALL]
    if name not in STUDIES:
        raise UserError(f"there is no study '{name}'; {nearest(name, [*STUDIES, ALL])}")
    return [STUDIES[name]]
