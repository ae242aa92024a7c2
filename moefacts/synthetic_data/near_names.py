"""Names of a population that are like a name which nobody in it has."""

from difflib import SequenceMatcher

import numpy as np

from moefacts.errors import UserError
from moefacts.synthetic_data.population import Population

_LEAST = 0.7  # of a similarity between 0 and 1, the mean over the parts of the name


def near_names(population: Population, name: str, count: int = 3) -> list[str]:
    """The ``count`` full names most like ``name``, the likest first; fewer, or none, if there is little likeness.

    A name of two parts is compared with first and last names. Parts are compared with the pools, so the time hardly
    depends on how many people there are. Shape legend: P people.
    """
    parts, pools = name.split(), population.pools
    columns = {2: (0, 2), 3: (0, 1, 2)}.get(len(parts))
    if columns is None:
        return []
    likeness_P = np.zeros(len(population), dtype=np.float32)
    for part, column in zip(parts, columns, strict=True):
        pool = (pools.first_names, pools.middle_names, pools.last_names)[column]
        likeness_P += np.array([_likeness(part, entry) for entry in pool], dtype=np.float32)[
            population.name_P3[:, column]
        ]
    likeness_P /= len(columns)
    best = np.argsort(-likeness_P, kind="stable")[:count]
    return [population.full_name(int(individual)) for individual in best if likeness_P[individual] >= _LEAST]


def hint(population: Population, name: str) -> str:
    """A question about ``near_names`` that follows a sentence about ``name``; empty if there are none."""
    found = [f"'{one}'" for one in near_names(population, name)]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def person_of(population: Population, name: str, run: object) -> int:
    """The individual with this full name.

    Raises:
        UserError: nobody in the population, which is that of ``run``, has it; the message names people whose names are
            like it.
    """
    individual = population.find(name)
    if individual is None:
        raise UserError(f"nobody in {run} has the name '{name}'{hint(population, name)}")
    return individual


def _likeness(left: str, right: str) -> float:
    return SequenceMatcher(None, left.casefold(), right.casefold(), autojunk=False).ratio()
