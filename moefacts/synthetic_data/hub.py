"""Export a population as a Hugging Face dataset folder: Parquet files and a card, written in bounded memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from moefacts.errors import UserError
from moefacts.synthetic_data.biography import PIECES_PER_SENTENCE, BiographyPlan, PieceCatalog
from moefacts.synthetic_data.distribution import Distribution
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import COHORTS, Population
from moefacts.synthetic_data.sampling import evaluation_plan, training_plan

_VALUE_PLACE = 5  # the place of the value among a sentence's seven pieces
_CARD = """---
license: apache-2.0
language:
- en
pretty_name: moefacts synthetic biographies
task_categories:
- text-generation
tags:
- synthetic
- factual-knowledge
size_categories:
- {size_category}
configs:
- config_name: biographies
  default: true
  data_files:
{biography_files}
- config_name: population
  data_files:
{population_files}
---

# Synthetic biographies

Made by moefacts {version}. Every person is fictional. Names of places, universities and companies are real,
but what is said about people is random.

| | |
|---|---|
| people: seen / unseen / new | {cohorts} |
| no-knowledge baseline | {baseline:.6f} nats (mean over attributes of ln(number of values)) |
| population fingerprint | `{fingerprint}` |
| training distribution | `{distribution}` (where it is not uniform, individuals with lower numbers come first) |
| made with | `{command}` |

`biographies` has the splits `train` (seen people in their training templates; a model trained with this seed
sees these biographies first, in this order), `validation` (seen people in templates held out for them) and
`unseen` (people who never occur in training). Columns: `text`; `individual`, a row number of `population`;
`attributes`, the attribute of each sentence in reading order; `value_start` and `value_end`, the span in `text`
of the value of each sentence, in characters.

`population` has the splits `seen`, `unseen` and `new`, with one row per person: `individual`, `name` and the
six attributes.

```python
from datasets import load_dataset
biographies = load_dataset("path/to/this/folder")
people = load_dataset("path/to/this/folder", "population")
```
"""


@dataclass(frozen=True)
class Split:
    """One split of the biographies; ``plan(start, stop)`` gives the biographies in the rows [start, stop)."""

    name: str
    num_rows: int
    plan: Callable[[int, int], BiographyPlan]


def training_rows(
    population: Population, batch_size: int, distribution: Distribution
) -> Callable[[int, int], BiographyPlan]:
    """The rows of the training stream: row r is biography r % batch_size of step r // batch_size.

    Raises:
        UserError: the distribution is adaptive, or replays what a model says: its biographies depend on a model.
    """
    kind, values = distribution.config.kind, distribution.config.replay_values
    if distribution.num_active(0) is not None:
        raise UserError(f"sampling.kind={kind} depends on a model in training; use another kind for a dataset")
    if values is not None:
        raise UserError(f"sampling.replay_values={values} depends on a model; leave it out for a dataset")

    def plan(start: int, stop: int) -> BiographyPlan:
        first_step, last_step = start // batch_size, (stop - 1) // batch_size
        parts = [training_plan(population, step, batch_size, distribution) for step in range(first_step, last_step + 1)]
        rows = slice(start - first_step * batch_size, stop - first_step * batch_size)
        return BiographyPlan(
            np.concatenate([part.individual_B for part in parts])[rows],
            np.concatenate([part.attribute_BA for part in parts])[rows],
            np.concatenate([part.template_BA for part in parts])[rows],
        )

    return plan


def evaluation_rows(population: Population, cohort: str, num_rows: int) -> Callable[[int, int], BiographyPlan]:
    """The rows of the evaluation set of ``cohort``."""
    whole = evaluation_plan(population, cohort, num_rows)

    def plan(start: int, stop: int) -> BiographyPlan:
        return whole.rows(slice(start, stop))

    return plan


class BiographyWriter:
    """Turns plans of biographies into Arrow tables, without a Python loop over people."""

    def __init__(self, population: Population):
        self._catalog = PieceCatalog(population)
        texts = self._catalog.texts
        # Every piece appears again without its leading space, for the beginning of a text.
        self._texts = pa.array([*texts, *(text.removeprefix(" ") for text in texts)])
        self._lengths_Q = pc.utf8_length(self._texts).to_numpy()

    def table(self, plan: BiographyPlan) -> pa.Table:
        """The biographies of ``plan``: text, individual, attribute of each sentence, character span of each value."""
        pieces_BS = self._catalog.biography_pieces(plan)
        self._drop_leading_space(pieces_BS)
        end_BS = self._lengths_Q[pieces_BS].cumsum(axis=1, dtype=np.int32)
        value_columns = 1 + _VALUE_PLACE + PIECES_PER_SENTENCE * np.arange(len(ATTRIBUTES))
        value_end_BA = end_BS[:, value_columns]
        value_start_BA = end_BS[:, value_columns - 1] + 1  # without the space before the value
        attributes = pa.DictionaryArray.from_arrays(plan.attribute_BA.ravel().astype(np.int8), pa.array(ATTRIBUTES))
        return pa.table(
            {
                "text": self._joined(pieces_BS),
                "individual": pa.array(plan.individual_B),
                "attributes": _lists(attributes),
                "value_start": _lists(pa.array(value_start_BA.ravel())),
                "value_end": _lists(pa.array(value_end_BA.ravel())),
            }
        )

    def _drop_leading_space(self, pieces_BS: np.ndarray) -> None:
        """Drop the space before a biography's first word: the first template's prefix or, if empty, the first name."""
        has_no_prefix_B = self._lengths_Q[pieces_BS[:, 1]] == 0
        pieces_BS[np.arange(len(pieces_BS)), 1 + has_no_prefix_B] += len(self._catalog.texts)

    def _joined(self, pieces_BS: np.ndarray) -> pa.Array:
        """Each row's pieces as one string. They already lie end to end in one buffer, so only offsets change."""
        pieces = self._texts.take(pa.array(pieces_BS.ravel()))
        _, offsets, data = pieces.buffers()
        row_offsets = np.frombuffer(offsets, np.int32)[: pieces_BS.size + 1 : pieces_BS.shape[1]].copy()
        return pa.StringArray.from_buffers(len(pieces_BS), pa.py_buffer(row_offsets), data)


def _lists(values: pa.Array) -> pa.Array:
    offsets = np.arange(0, len(values) + 1, len(ATTRIBUTES), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def population_table(population: Population, start: int, stop: int) -> pa.Table:
    """A table of the individuals [start, stop) of the population, with one row per person."""
    pools = population.pools
    names = [
        pa.array(pool).take(pa.array(population.name_P3[start:stop, part]))
        for part, pool in enumerate((pools.first_names, pools.middle_names, pools.last_names))
    ]
    columns = {"individual": pa.array(np.arange(start, stop)), "name": pc.binary_join_element_wise(*names, " ")}
    for index, attribute in enumerate(ATTRIBUTES):
        values = pa.array(pools.values(attribute))
        columns[attribute] = pa.DictionaryArray.from_arrays(population.value_PA[start:stop, index], values)
    return pa.table(columns)


_REPETITIVE = ["attributes.list.element"]  # of biographies


def _write_parquet(path: Path | pa.BufferOutputStream, tables: Iterator[pa.Table], repetitive: list[str]) -> None:
    """Write ``tables`` one after the other; only the columns ``repetitive`` are dictionary-encoded."""
    writer = None
    try:
        for table in tables:
            # Without Arrow's own schema in the file, readers see plain strings instead of dictionaries.
            writer = writer or pq.ParquetWriter(path, table.schema, use_dictionary=repetitive, store_schema=False)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def bytes_per_biography(population: Population, split: Split, num_rows: int) -> float:
    """How many bytes a biography of ``split`` takes in its file, measured on the first ``num_rows``."""
    buffer = pa.BufferOutputStream()
    _write_parquet(buffer, iter([BiographyWriter(population).table(split.plan(0, num_rows))]), _REPETITIVE)
    return float(buffer.tell() / num_rows)


def write_dataset(
    population: Population,
    splits: list[Split],
    folder: Path,
    rows_per_group: int,
    card: dict[str, str],
    progress: Callable[[int], None] = lambda rows: None,
) -> None:
    """Write a dataset folder that ``datasets.load_dataset`` reads.

    Args:
        population: the people that the biographies are about.
        splits: the splits of the configuration ``biographies``.
        folder: the target folder; it must exist and be empty.
        rows_per_group: the number of rows held in memory at a time.
        card: ``version``, ``command`` and ``distribution`` for the dataset card.
        progress: called with the number of rows written since the last call.
    """
    writer = BiographyWriter(population)

    def biographies(split: Split) -> Iterator[pa.Table]:
        for start in range(0, split.num_rows, rows_per_group):
            stop = min(start + rows_per_group, split.num_rows)
            yield writer.table(split.plan(start, stop))
            progress(stop - start)

    def people(cohort: str) -> Iterator[pa.Table]:
        individuals = population.cohort(cohort)
        for start in range(individuals.start, individuals.stop, rows_per_group):
            yield population_table(population, start, min(start + rows_per_group, individuals.stop))

    (folder / "data").mkdir()
    for split in splits:
        _write_parquet(folder / _file("biographies", split.name), biographies(split), _REPETITIVE)
    cohorts = [cohort for cohort in COHORTS if len(population.cohort(cohort))]
    for cohort in cohorts:
        _write_parquet(folder / _file("population", cohort), people(cohort), list(ATTRIBUTES))
    text = _card_text(population, splits, cohorts, card)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _file(config: str, split: str) -> str:
    return f"data/{config}-{split}-00000-of-00001.parquet"


def _card_text(population: Population, splits: list[Split], cohorts: list[str], card: dict[str, str]) -> str:
    def listing(config: str, names: list[str]) -> str:
        return "\n".join(f"  - split: {name}\n    path: {_file(config, name)}" for name in names)

    num_rows = sum(split.num_rows for split in splits)
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return _CARD.format(
        size_category=next((name for bound, name in bounds if num_rows < bound), "1M<n<10M"),
        biography_files=listing("biographies", [split.name for split in splits]),
        population_files=listing("population", cohorts),
        cohorts=" / ".join(f"{len(population.cohort(cohort)):,}" for cohort in COHORTS),
        baseline=population.no_knowledge_baseline,
        fingerprint=population.fingerprint,
        **card,
    )
