"""The files and columns of the tables that probes write into a run and analyses read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from moefacts.errors import UserError
from moefacts.runs import keys, layout
from moefacts.runs.durable import write_durably

# The measures of every evaluated value (training.evaluation.ValueMeasures).
VALUE_MEASURES = (*keys.EVALUATED, "value_confidence")


@dataclass(frozen=True)
class ProbeTable:
    """A Parquet table of a run; ``name`` is the stem of its file in the folder of probes."""

    name: str
    columns: tuple[str, ...]

    def path(self, run: Path) -> Path:
        """The path of the table in the directory ``run``."""
        return run / layout.PROBES / f"{self.name}.parquet"

    def write(self, run: Path, table: Any) -> None:
        """Write a pandas table durably; it must have exactly these columns, in any order."""
        assert set(table.columns) == set(self.columns), (self.name, list(table.columns))
        path = self.path(run)
        path.parent.mkdir(exist_ok=True)
        ordered = table[list(self.columns)]
        write_durably(path, lambda temporary: ordered.to_parquet(temporary, index=False))

    def read(self, run: Path) -> pd.DataFrame | None:
        """The table as ``run`` holds it; None if it has not been written.

        Raises:
            UserError: the file is damaged.
        """
        path = self.path(run)
        if not path.exists():
            return None
        try:
            return pd.read_parquet(path, columns=list(self.columns))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is damaged and cannot be read: {str(error).splitlines()[0]}") from None


CONFIDENCE = ProbeTable("confidence", ("cohort", "biography", "individual", "attribute", "step", *VALUE_MEASURES))
ATTENTION = ProbeTable("attention", ("step", "layer", "signature", "value", "reference"))
EXPERT_USE = ProbeTable("routing_use", ("layer", "kind", "label", "expert", "share"))
INFORMATION = ProbeTable(  # ``routing_information``, which earlier versions wrote, had information without a condition
    "routing_information_given_token", ("layer", "weights", "label", "information", "entropy", "fraction", "control")
)
VOCABULARY = ProbeTable("routing_vocabulary", ("layer", "specialisation"))
COACTIVATION = ProbeTable("routing_coactivation", ("layer", "expert", "other", "share"))
SATURATION = ProbeTable("routing_saturation", ("step", "layer", "saturation"))
ABLATION = ProbeTable("routing_ablation", ("layer", "expert", "attribute", "loss_change"))
BIOGRAPHY = ProbeTable("routing_biography", ("layer", "position", "token", "role", "expert"))
ROUTING = (EXPERT_USE, INFORMATION, VOCABULARY, COACTIVATION, SATURATION, ABLATION, BIOGRAPHY)

# Probe -> its tables, which are written on request. (The confidence table is written when training ends.)
PROBES = {"routing": ROUTING, "attention": (ATTENTION,)}
