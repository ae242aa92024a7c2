"""The one reader of run directories: a run, finished or still training, as tables."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from moefacts.config.loader import read_config
from moefacts.config.schema import RunConfig
from moefacts.errors import UserError
from moefacts.runs import keys, layout, shown, suits, tables
from moefacts.runs.fingerprint import check_population
from moefacts.runs.manifest import FINISHED, read_manifest
from moefacts.runs.probe_table import ProbeTable
from moefacts.runs.records import read_metrics
from moefacts.runs.whole import check_whole
from moefacts.synthetic_data.cohorts import ALL, cohort_ranges


@dataclass(frozen=True)
class Run:
    """The contents of one run directory.

    Attributes:
        path: the directory.
        settings: the resolved configuration, upgraded when an earlier version of moefacts stored it.
        manifest: versions, device, parameter counts, baseline, state.
        records: everything that was logged, one dictionary per line of the metrics file.
    """

    path: Path
    settings: RunConfig
    manifest: dict[str, Any]
    records: list[dict[str, Any]]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration as plain dictionaries."""
        return dataclasses.asdict(self.settings)

    @property
    def seed(self) -> int:
        """The seed of population, weights and samples."""
        return self.settings.seed

    @property
    def batch_size(self) -> int:
        """The number of biographies per training step."""
        return self.settings.training.batch_size

    @property
    def is_finished(self) -> bool:
        """Whether training has ended."""
        return self.manifest["state"] == FINISHED

    @property
    def baseline(self) -> float:
        """The no-knowledge baseline in nats."""
        return float(self.manifest["no_knowledge_baseline"])

    @property
    def cohort(self) -> str:
        """The cohort whose plateau the run follows, which is the first of those it evaluates."""
        return self.settings.evaluation.cohorts[0]

    @property
    def is_fine_tuned(self) -> bool:
        """Whether its weights were those of another run when training started."""
        return self.settings.init.is_on

    @property
    def learned_cohort(self) -> str:
        """The cohort that training draws from."""
        return self.settings.sampling.cohort

    @cached_property
    def people(self) -> dict[str, range]:
        """Cohort -> its individuals."""
        population = self.settings.population
        return cohort_ranges(population.cohorts or {}, population.sizes)

    @property
    def known_before(self) -> list[str]:
        """The evaluated cohorts of which the weights had seen everybody before fine-tuning, but the learned one."""
        seen = sorted(map(tuple, self.manifest.get("seen_before", [])))
        others = [name for name in self.cohorts if name in self.people and name != self.learned_cohort]
        return [name for name in others if shown.is_within(self.people[name], seen)]

    @cached_property
    def shown_cohort(self) -> str | None:
        """The evaluated cohort that stands for people whom training has shown (``runs.shown``)."""
        return shown.shown_cohort(self.settings, self.manifest)

    @cached_property
    def unseen_cohorts(self) -> list[str]:
        """The evaluated cohorts of which training has shown nobody, before fine-tuning or in it."""
        return shown.unseen_cohorts(self.settings, self.manifest)

    @property
    def probed_cohorts(self) -> list[str]:
        """Those of ``known_before`` with at least two people, one to estimate something on and one to test it on."""
        return [cohort for cohort in self.known_before if len(self.people[cohort]) > 1]

    @property
    def has_halves(self) -> bool:
        """Whether the facts of some cohort are drawn from one half of every attribute's values."""
        return any(cohort.values != ALL for cohort in (self.settings.population.cohorts or {}).values())

    @cached_property
    def cohorts(self) -> list[str]:
        """The cohorts that have been evaluated; the one whose plateau the run follows comes first."""
        found = (keys.cohort_of_key(column, keys.ATTRIBUTE_LOSS) for column in self.evaluations.columns)
        return sorted({name for name in found if name}, key=lambda name: (name != self.cohort, name))

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """The evaluations, indexed by step: one row per evaluation, one column per metric."""
        return self._table(keys.evaluation_key(self.cohort, keys.ATTRIBUTE_LOSS))

    def curve(
        self, measure: str, cohort: str | None = None, attribute: str | None = None, bucket: str | None = None
    ) -> pd.Series:
        """A measure at every evaluation that has it, indexed by step.

        Args:
            measure: one of ``keys.EVALUATED``.
            cohort: the cohort measured; by default the one whose plateau the run follows.
            attribute: restricts the measure to one attribute.
            bucket: restricts the measure to one bucket of the cohort's people.

        Raises:
            UserError: the run has no such measure.
        """
        return self._column(keys.evaluation_key(cohort or self.cohort, measure, attribute, bucket))

    def has_curve(self, measure: str, cohort: str | None = None, bucket: str | None = None) -> bool:
        """Whether the run has this measure, so that ``curve`` returns it."""
        return keys.evaluation_key(cohort or self.cohort, measure, bucket=bucket) in self.evaluations

    @cached_property
    def routed_layers(self) -> list[int]:
        """The layers that are mixtures of experts, counted from 0."""
        layers = (keys.layer_of_key(column, keys.MAX_VIOLATION) for column in self.evaluations.columns)
        return sorted({layer for layer in layers if layer is not None})

    @property
    def num_experts(self) -> int:
        """The number of experts in each mixture; 0 for a dense model."""
        return 0 if self.settings.model.moe is None else self.settings.model.moe.num_experts

    def load_fraction(self, layer: int, expert: int) -> pd.Series:
        """The share of a layer's assignments that go to one expert, at every evaluation."""
        return self._column(keys.routing_key(layer, keys.LOAD_FRACTION, expert))

    def _column(self, key: str) -> pd.Series:
        if key not in self.evaluations:
            raise UserError(f"{self.path / layout.METRICS}: {key}: got nothing in any evaluation, expected a number")
        return self.evaluations[key].dropna()

    @cached_property
    def training(self) -> pd.DataFrame:
        """The training records, indexed by step."""
        return self._table(keys.TRAIN_LOSS)

    @property
    def final_training_loss(self) -> float:
        """Mean cross entropy, in nats per token, of the last twentieth of the training records (at least one).

        Raises:
            UserError: there are none.
        """
        if keys.TRAIN_LOSS not in self.training:
            raise UserError(f"{self.path / layout.METRICS} has no record of a training step")
        return _mean_at_end(self.training[keys.TRAIN_LOSS])

    @property
    def final_training_attribute_loss(self) -> float | None:
        """The attribute loss in the texts of training, averaged likewise; None if it was not recorded."""
        key = keys.TRAIN_ATTRIBUTE_LOSS
        return _mean_at_end(self.training[key]) if key in self.training else None

    def _table(self, key: str) -> pd.DataFrame:
        rows = [record for record in self.records if key in record]
        return pd.DataFrame(rows).set_index(keys.STEP) if rows else pd.DataFrame()

    @property
    def attributes(self) -> list[str]:
        """The attributes, in the order of the population."""
        prefix = keys.evaluation_key(self.cohort, keys.ATTRIBUTE_LOSS) + "/"
        return [column.removeprefix(prefix) for column in self.evaluations.columns if column.startswith(prefix)]

    @cached_property
    def confidence(self) -> pd.DataFrame | None:
        """The table of the confidence probe; None if it has not been written."""
        return tables.CONFIDENCE.read(self.path)

    @cached_property
    def decisions(self) -> pd.DataFrame | None:
        """The table of the decisions probe; None if it has not been written."""
        return tables.DECISIONS.read(self.path)

    @cached_property
    def attention(self) -> pd.DataFrame | None:
        """The table of the attention probe; None if it has not been written."""
        return tables.ATTENTION.read(self.path)

    @cached_property
    def mechanism(self) -> pd.DataFrame | None:
        """The table of the probe of the mechanism; None if it has not been written."""
        return tables.MECHANISM.read(self.path)

    @cached_property
    def mechanism_sentence(self) -> pd.DataFrame | None:
        """Its table of one sentence, which is empty for a model without attention; None if it has not been written."""
        return tables.MECHANISM_SENTENCE.read(self.path)

    @cached_property
    def mechanism_experts(self) -> pd.DataFrame | None:
        """Its table of single experts, which is empty for a dense model; None if it has not been written."""
        return tables.MECHANISM_EXPERTS.read(self.path)

    @cached_property
    def mechanism_restored(self) -> pd.DataFrame | None:
        """Its table of restored weights, which is empty with one checkpoint; None if it has not been written."""
        return tables.MECHANISM_RESTORED.read(self.path)

    @cached_property
    def emergence(self) -> pd.DataFrame | None:
        """Its main measures at every checkpoint; None if they have not been probed."""
        return tables.EMERGENCE.read(self.path)

    @cached_property
    def retention(self) -> pd.DataFrame | None:
        """The table of the retention probe; None if it has not been written."""
        return tables.RETENTION.read(self.path)

    @cached_property
    def retention_at_end(self) -> pd.DataFrame | None:
        """The rows of that table for the checkpoint nearest to the plateau's end, the first that is probed.

        None if neither it nor this part of it has been written, or if the plateau did not end.
        """
        part = tables.RETENTION_AT_END.read(self.path)
        if part is not None or self.retention is None or self.plateau_end is None:
            return part
        return self.retention[self.retention["step"] == self.retention["step"].min()]

    def probed(self, table: ProbeTable) -> pd.DataFrame | None:
        """The table of any other probe, such as one of fine-tuning; None if it has not been written."""
        return table.read(self.path)

    @property
    def plateau_end(self) -> int | None:
        """The evaluation that ended the plateau during training; None if none did."""
        return self.manifest.get("plateau_end")

    def check_tables(self, *probes: str) -> None:
        """Read the tables of ``probes``, and that of confidence, to find damage before anything is made of them.

        Raises:
            UserError: one is damaged.
        """
        for table in (tables.CONFIDENCE, *(table for probe in probes for table in tables.PROBES[probe])):
            table.read(self.path)

    @property
    def missing_probes(self) -> list[str]:
        """The probes that suit the run and have not been run, without those that are a part of another one.

        Those that are run on request only (``tables.ON_REQUEST``) are none of them.
        """
        usual = (probe for probe in tables.PROBES if probe not in (*tables.PART_OF, *tables.ON_REQUEST))
        return [probe for probe in usual if self.lacks(probe)]

    def lacks(self, probe: str) -> bool:
        """Whether one of ``tables.PROBES`` suits the run (``runs.suits``) and has not been run."""
        return not suits.why_not(self, probe) and not self.has_probed(probe)

    def has_probed(self, probe: str) -> bool:
        """Whether the tables of one of ``tables.PROBES`` have been written, or those of what it is a part of."""
        ways = [tables.PROBES[one] for one in (probe, tables.PART_OF.get(probe)) if one is not None]
        return any(all(table.path(self.path).exists() for table in way) for way in ways)


def _mean_at_end(values: pd.Series) -> float:
    return float(values.tail(max(1, len(values) // 20)).mean())


_NEEDED = ("no_knowledge_baseline", "no_knowledge_baseline_by_attribute", "parameters", "command", "device")


def read_run(path: Path) -> Run:
    """Read a run directory.

    Raises:
        UserError: the directory is missing, damaged or not a run's, holds no evaluation yet, or its settings are not
            those of its population.
    """
    manifest = read_manifest(path)
    settings = read_config(path / layout.CONFIG)
    check_population(path, settings, manifest)
    if missing := [key for key in _NEEDED if key not in manifest]:
        raise UserError(f"{path} has not begun to train, or its {layout.MANIFEST} is damaged: it lacks {missing[0]}")
    run = Run(path, settings, manifest, read_metrics(path / layout.METRICS))
    if run.evaluations.empty:
        raise UserError(f"{path} has no evaluation yet; let it train first")
    check_whole(run.path, settings, manifest, run.records)
    return run
