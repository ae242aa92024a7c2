"""The files and columns of the tables that probes write into a run and analyses read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from moefacts.errors import UserError
from moefacts.runs import keys, layout
from moefacts.runs.durable import write_durably

# The measures of every evaluated value, all teacher-forced (training.evaluation.ValueMeasures).
VALUE_CONFIDENCE = "value_confidence"
VALUE_MEASURES = (*keys.EVALUATED, VALUE_CONFIDENCE)
FREE_RUNNING_CONFIDENCE = "free_running_confidence"  # probes.free_running


@dataclass(frozen=True)
class ProbeTable:
    """A Parquet table of a run.

    Attributes:
        name: the stem of its file in the folder of probes.
        columns: the columns that are written.
        added: those of them that tables of earlier versions lack.
    """

    name: str
    columns: tuple[str, ...]
    added: tuple[str, ...] = ()

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
        """The table as ``run`` holds it, without ``added`` columns that it lacks; None if it has not been written.

        Raises:
            UserError: the file is damaged.
        """
        path = self.path(run)
        if not path.exists():
            return None
        try:
            present = pq.read_schema(path).names
            columns = [name for name in self.columns if name in present or name not in self.added]
            return pd.read_parquet(path, columns=columns)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is damaged and cannot be read: {str(error).splitlines()[0]}") from None


CONFIDENCE = ProbeTable(
    "confidence",
    ("cohort", "biography", "individual", "attribute", "step", *VALUE_MEASURES, FREE_RUNNING_CONFIDENCE),
    added=(FREE_RUNNING_CONFIDENCE,),
)
ATTENTION = ProbeTable("attention", ("step", "layer", "signature", "value", "reference"))
RETENTION = ProbeTable(
    "retention", ("step", "individual", "times_shown", "steps_since_shown", keys.ATTRIBUTE_LOSS, keys.CONTROL_LOSS)
)
RETENTION_AT_END = ProbeTable("retention_at_end", RETENTION.columns)  # its rows of one checkpoint
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
PROBES = {
    "routing": ROUTING,
    "attention": (ATTENTION,),
    "retention": (RETENTION,),
    "retention_at_end": (RETENTION_AT_END,),
}
# Those that are a part of another one, which takes their place: for studies whose many runs need no more.
PART_OF = {"retention_at_end": "retention"}
