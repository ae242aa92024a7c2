"""Write the biographies of one configuration as a dataset folder, or preview them."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from moefacts import __version__
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.experiments.tasks.memory import check_memory, need_of_dataset, out_of_memory_explained, readable
from moefacts.runs.durable import new_folder
from moefacts.synthetic_data.biography import PieceCatalog
from moefacts.synthetic_data.cohorts import SEEN, UNSEEN
from moefacts.synthetic_data.hub import Split, bytes_per_biography, evaluation_rows, training_rows, write_dataset
from moefacts.synthetic_data.population import Population, build_population
from moefacts.synthetic_data.sampling import training_distribution, training_plan

_ROWS_OF_PREVIEW = 1000
_ROWS_OF_SAMPLE, _ROWS_TO_CHECK = 10_000, 1_000_000  # fewer rows than these fit anywhere


def generate_dataset(config: RunConfig, folder: Path, command: str, progress: Callable[[int], None]) -> Population:
    """Write the dataset that ``config`` describes; the folder appears whole or not at all.

    Args:
        config: the population, the sizes of the splits, and how often training shows each person.
        folder: the target folder; it must be empty or not exist.
        command: the command that makes the dataset, for its card.
        progress: receives the number of rows written since its last call.

    Raises:
        UserError: a size is impossible, the folder is not empty, or the distribution depends on a model.
    """
    need = need_of_dataset(config)
    check_memory(need)
    with out_of_memory_explained(need):
        return _write(config, folder, command, progress)


def _write(config: RunConfig, folder: Path, command: str, progress: Callable[[int], None]) -> Population:
    population = build_population(config.population, config.seed)
    distribution = training_distribution(config.sampling, population, config.training.steps)
    sizes = config.dataset
    splits = [
        Split("train", sizes.train, training_rows(population, config.training.batch_size, distribution)),
        Split("validation", sizes.validation, evaluation_rows(population, SEEN, sizes.validation)),
        Split(UNSEEN, sizes.unseen, evaluation_rows(population, UNSEEN, sizes.unseen)),
    ]
    _check_space(population, splits, folder)
    card = {"version": __version__, "command": command, "distribution": config.sampling.describe()}
    with new_folder(folder) as temporary:
        write_dataset(population, splits, temporary, sizes.rows_per_group, card, progress)
    return population


def _check_space(population: Population, splits: list[Split], folder: Path) -> None:
    """Raise ``UserError`` when the biographies need more space than is free where ``folder`` will be."""
    total, largest = sum(split.num_rows for split in splits), max(splits, key=lambda split: split.num_rows)
    if total < _ROWS_TO_CHECK:
        return
    place = next(path for path in folder.absolute().parents if path.exists())
    needed = total * bytes_per_biography(population, largest, min(_ROWS_OF_SAMPLE, largest.num_rows))
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{total:,} biographies take about {readable(needed)}, and {readable(free)} are free where {folder} would "
            f"be; lower dataset.{largest.name}"
        )


def preview(config: RunConfig, count: int) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the first ``count`` training biographies, each as full name and its pieces (text, role name) in order."""
    check_memory(need_of_dataset(config))
    population = build_population(config.population, config.seed)
    catalog = PieceCatalog(population)
    distribution = training_distribution(config.sampling, population, config.training.steps)
    for step in itertools.count():
        plan = training_plan(population, step, config.training.batch_size, distribution)
        for start in range(0, len(plan), _ROWS_OF_PREVIEW):
            part = plan.rows(slice(start, start + _ROWS_OF_PREVIEW))
            rows = catalog.biography_pieces(part)
            for individual, row in zip(part.individual_B, rows, strict=True):
                if not count:
                    return
                count -= 1
                pieces = [(catalog.texts[piece], catalog.roles[piece].name) for piece in row]
                yield population.full_name(individual), pieces
