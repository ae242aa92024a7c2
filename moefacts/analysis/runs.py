"""Finished or running runs, as tables."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from moefacts import run_files
from moefacts.errors import UserError

CONFIDENCE_COLUMNS = (
    "cohort", "biography", "individual", "attribute", "step",
    "attribute_loss", "attribute_accuracy", "max_probability", "entropy", "value_confidence",
)  # fmt: skip
ATTENTION_COLUMNS = ("step", "layer", "signature", "value", "reference")
_NOT_SCIENCE = ("run", "wandb", "threads", "parallel", "dataset", "device")


@dataclass(frozen=True)
class Run:
    """One run directory.

    Attributes:
        config: the resolved configuration as plain dictionaries.
        manifest: versions, device, parameter counts, baseline, state.
        records: everything that was logged, a dictionary a line.
    """

    path: Path
    config: dict[str, Any]
    manifest: dict[str, Any]
    records: list[dict[str, Any]]

    @property
    def baseline(self) -> float:
        """The no-knowledge baseline in nats."""
        return float(self.manifest["no_knowledge_baseline"])

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """The evaluations: one row each, indexed by step, a column for each metric."""
        return self._table("eval/seen/attribute_loss")

    @cached_property
    def training(self) -> pd.DataFrame:
        """The training records, indexed by step."""
        return self._table("train/loss")

    @property
    def final_training_loss(self) -> float:
        """Mean cross entropy, in nats a token, of the last twentieth of the training records (at least one)."""
        loss = self.training["train/loss"]
        return float(loss.tail(max(1, len(loss) // 20)).mean())

    def _table(self, key: str) -> pd.DataFrame:
        rows = [record for record in self.records if key in record]
        return pd.DataFrame(rows).set_index("step") if rows else pd.DataFrame()

    @property
    def attributes(self) -> list[str]:
        """The attributes, in the order of the population."""
        prefix = "eval/seen/attribute_loss/"
        return [column.removeprefix(prefix) for column in self.evaluations.columns if column.startswith(prefix)]

    @cached_property
    def confidence(self) -> pd.DataFrame | None:
        """The table of the confidence probe, or None before it was written."""
        return self._probe(run_files.CONFIDENCE, CONFIDENCE_COLUMNS)

    @cached_property
    def attention(self) -> pd.DataFrame | None:
        """The table of the attention probe, or None before it was written."""
        return self._probe(run_files.ATTENTION, ATTENTION_COLUMNS)

    def _probe(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
        path = self.path / run_files.PROBES / name
        if not path.exists():
            return None
        try:
            return pd.read_parquet(path, columns=list(columns))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is damaged and cannot be read: {str(error).splitlines()[0]}") from None

    @property
    def missing_probes(self) -> list[str]:
        """Which of "routing" and "attention" suit the model and have not been probed.

        None before training ends, and none of patched runs, whose weights are not all of the model.
        """
        if (
            self.manifest["state"] != "finished"
            or (self.config.get("patching") or {}).get("reference_step") is not None
        ):
            return []
        model = self.config["model"]
        tables = {"routing": [run_files.routing_table(self.path, name) for name in run_files.ROUTING_TABLES]}
        tables["attention"] = [self.path / run_files.PROBES / run_files.ATTENTION]
        applies = {"routing": model.get("moe") is not None, "attention": model.get("mixer", "attention") == "attention"}
        return [probe for probe, paths in tables.items() if applies[probe] and not all(path.exists() for path in paths)]


_NEEDED = ("no_knowledge_baseline", "no_knowledge_baseline_by_attribute", "parameters", "command", "device")
_NEEDED_SECTIONS = ("population", "model", "training", "evaluation", "seed")


def read_run(path: Path) -> Run:
    """Read a run directory.

    Raises:
        UserError: it is missing, foreign or damaged, or holds no evaluation yet.
    """
    manifest = run_files.read_manifest(path)
    try:
        config = OmegaConf.to_container(OmegaConf.load(path / run_files.CONFIG))
    except Exception as error:  # a missing file or any error of the YAML library: there is no config to read
        raise UserError(f"{path / run_files.CONFIG} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(config, dict) or any(section not in config for section in _NEEDED_SECTIONS):
        raise UserError(f"{path / run_files.CONFIG} is not the config of a run")
    if missing := [key for key in _NEEDED if key not in manifest]:
        raise UserError(f"{path} has not begun to train, or its {run_files.MANIFEST} is damaged: it lacks {missing[0]}")
    records = run_files.read_metrics(path / run_files.METRICS)
    run = Run(path, config, manifest, records)  # type: ignore[arg-type]
    if run.evaluations.empty:
        raise UserError(f"{path} has no evaluation yet; let it train first")
    return run


def settings(run: Run) -> dict[str, Any]:
    """What a run computes, as dotted keys; where it is kept is left out."""
    flat = pd.json_normalize({key: value for key, value in run.config.items() if key not in _NOT_SCIENCE})
    return flat.iloc[0].to_dict()


def choose_runs(runs: list[Run]) -> tuple[list[Run], list[str]]:
    """The runs that can stand in one mean, and a line for each that is left out.

    Left out are copies of a run, which add nothing to an interval, and unfinished runs when others are finished.
    """
    chosen: dict[str, Run] = {}
    notes = []
    some_finished = any(run.manifest["state"] == "finished" for run in runs)
    for run in runs:
        name = repr(sorted(settings(run).items(), key=lambda item: item[0]))
        if some_finished and run.manifest["state"] != "finished":
            notes.append(f"{run.path} is not finished ({run.manifest['state']}) and is left out")
        elif name in chosen:
            notes.append(f"{run.path} is the same run as {chosen[name].path} and is left out")
        else:
            chosen[name] = run
    return list(chosen.values()), notes


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed, and what tells them from the other groups."""

    label: str
    runs: list[Run]


def group_by_seed(runs: list[Run]) -> list[Group]:
    """Put runs that differ only in ``seed`` together; label each group by the settings in which groups differ."""
    members: dict[str, list[Run]] = {}
    described: dict[str, dict[str, Any]] = {}
    for run in runs:
        values = {key: value for key, value in settings(run).items() if key != "seed"}
        name = repr(sorted(values.items(), key=lambda item: item[0]))
        members.setdefault(name, []).append(run)
        described[name] = values
    keys = sorted({key for values in described.values() for key in values})
    varying = [key for key in keys if len({repr(values.get(key)) for values in described.values()}) > 1]
    if "model.preset" in varying:
        varying = [key for key in varying if not key.startswith("model.") or key == "model.preset"]
    groups = []
    for name, group in members.items():
        label = ", ".join(f"{key.rsplit('.', 1)[-1]}={described[name].get(key)}" for key in varying)
        groups.append(Group(label or str(group[0].config["model"]["preset"]), group))
    return groups


def crossing(step: np.ndarray, value: np.ndarray, level: float, first: int) -> float:
    """The step at which ``value`` crosses ``level`` on the straight line into evaluation ``first``."""
    if first == 0:
        return float(step[0])
    before, after = value[first - 1], value[first]
    share = (level - before) / (after - before) if after != before else 1.0
    return float(step[first - 1] + np.clip(share, 0, 1) * (step[first] - step[first - 1]))
