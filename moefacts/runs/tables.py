"""The files and columns of the tables that probes write into a run and analyses read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from moefacts.errors import UserError
from moefacts.runs import keys, layout
from moefacts.runs.durable import write_durably
from moefacts.runs.stored import shown

# The measures of every evaluated value, all teacher-forced (training.evaluation.ValueMeasures).
VALUE_CONFIDENCE = "value_confidence"
VALUE_MEASURES = (*keys.EVALUATED, VALUE_CONFIDENCE)
FREE_RUNNING_CONFIDENCE = "free_running_confidence"  # probes.free_running

# A table is a few thousand rows long. What claims to be longer than this is not read.
_MOST_ROWS, _MOST_BYTES, _LONGEST_TEXT = 10_000_000, 1 << 28, 1000


@dataclass(frozen=True)
class Column:
    """What a column may hold: text, or finite numbers from ``least`` to ``most``, whole or not.

    It lacks a value just where the column ``unless_zero`` is 0. Of texts, ``each`` must be there and no other.
    """

    is_text: bool = False
    is_whole: bool = False
    least: float = -1e39
    most: float = 1e39
    unless_zero: str = ""
    each: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.each:
            return f"each of {', '.join(self.each)}"
        if self.is_text:
            return "text"
        kind = "whole numbers" if self.is_whole else "finite numbers"
        return f"{kind} from {self.least:g} to {self.most:g}"

    def fits(self, values: pa.ChunkedArray) -> bool:
        """Whether the column may hold ``values``."""
        if values.null_count and not self.unless_zero:
            return False
        if self.is_text:
            texts = values.combine_chunks().dictionary if pa.types.is_dictionary(values.type) else values
            is_text = pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)
            if not is_text or (pc.max(pc.utf8_length(texts)).as_py() or 0) > _LONGEST_TEXT:
                return False
            return not self.each or set(pc.unique(texts).to_pylist()) == set(self.each)
        if not pa.types.is_integer(values.type) and (self.is_whole or not pa.types.is_floating(values.type)):
            return False
        known = values.drop_null()
        limits = pc.min_max(known).as_py()
        if len(known) and not (self.least <= limits["min"] and limits["max"] <= self.most):
            return False
        return pa.types.is_integer(values.type) or bool(pc.all(pc.is_finite(known), min_count=0).as_py())


TEXT, NUMBER, COUNT = Column(is_text=True), Column(), Column(is_whole=True, least=0, most=2.0**53)
SHARE, NOT_NEGATIVE = Column(least=-1e-3, most=1.001), Column(least=-1e-3)  # sums are rounded


@dataclass(frozen=True, eq=False)
class ProbeTable:
    """A Parquet table of a run.

    Attributes:
        name: the stem of its file in the folder of probes.
        columns: the columns that are written, and what they hold.
        key: those of them that no two rows have alike.
        is_complete: whether there is a row for every combination of the values in these.
        added: those of them that tables of earlier versions lack.
        may_be_empty: whether there can be nothing to write.
    """

    name: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    is_complete: bool = False
    added: tuple[str, ...] = ()
    may_be_empty: bool = False

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
            table = self._checked(path)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:  # pyarrow raises them all
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{path} is damaged and cannot be read: {reason}") from None
        frame = table.to_pandas()
        twice = frame[frame.duplicated(list(self.key))]
        if len(twice):
            row = ", ".join(f"{name} {shown(twice.iloc[0][name])}" for name in self.key)
            raise UserError(f"{path}: got two rows of {row}, expected one")
        for name, column in self.columns.items():
            if other := column.unless_zero:
                wrong = int((frame[name].isna() != (frame[other] == 0)).sum())
                if wrong:
                    raise UserError(
                        f"{path}: {name}: got {wrong} wrong rows, expected no value just where {other} is 0"
                    )
        combinations = math.prod(frame[name].nunique() for name in self.key)
        if self.is_complete and len(frame) != combinations:
            raise UserError(
                f"{path}: got {len(frame)} rows, expected {combinations}, one of each {' and '.join(self.key)}"
            )
        return frame

    def _checked(self, path: Path) -> pa.Table:
        """The columns that are read, each as it should be. Nothing is allocated before its size is known."""
        texts = [name for name, column in self.columns.items() if column.is_text]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            present = file.schema_arrow.names
            columns = [name for name in self.columns if name in present or name not in self.added]
            for name in columns:
                if present.count(name) != 1:
                    raise UserError(f"{path}: {name}: got {present.count(name)} columns, expected one")
            rows, groups = file.metadata.num_rows, file.metadata.num_row_groups
            size = sum(file.metadata.row_group(group).total_byte_size for group in range(groups))
            least = 0 if self.may_be_empty else 1
            if not least <= rows <= _MOST_ROWS or size > _MOST_BYTES:
                most = f"from {least} to {_MOST_ROWS:,} rows in at most {_MOST_BYTES:,}"
                raise UserError(f"{path}: got {rows:,} rows in {size:,} bytes, expected {most}")
            table = file.read(columns=columns)
        if not rows:
            return table
        for place, name in enumerate(columns):
            if not self.columns[name].fits(table[name]):
                raise UserError(f"{path}: {name}: got {_described(table[name])}, expected {self.columns[name]}")
            if name in texts:
                table = table.set_column(place, name, table[name].cast(pa.string()))
        return table


def _described(values: pa.ChunkedArray) -> str:
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    text = str(kind) + f", {values.null_count} of them missing" * bool(values.null_count)
    if pa.types.is_floating(kind) and not pc.all(pc.is_finite(values)).as_py():
        return f"{text}, not all finite"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        limits = pc.min_max(values).as_py()
        return f"{text} from {limits['min']} to {limits['max']}"
    return text


CONFIDENCE = ProbeTable(
    "confidence",
    {
        "cohort": TEXT,
        "biography": COUNT,
        "individual": COUNT,
        "attribute": TEXT,
        "step": COUNT,
        keys.ATTRIBUTE_LOSS: NOT_NEGATIVE,
        keys.ATTRIBUTE_ACCURACY: SHARE,
        keys.MAX_PROBABILITY: SHARE,
        keys.ENTROPY: NOT_NEGATIVE,
        VALUE_CONFIDENCE: SHARE,
        FREE_RUNNING_CONFIDENCE: SHARE,
    },
    key=("cohort", "biography", "attribute"),
    added=(FREE_RUNNING_CONFIDENCE,),
)
ATTENTION = ProbeTable(
    "attention",
    {
        "step": COUNT,
        "layer": COUNT,
        "signature": Column(
            is_text=True,
            each=("name_to_name", "attribute_to_name", "attribute_to_text", "name_entropy", "attribute_entropy"),
        ),
        "value": SHARE,
        "reference": SHARE,
    },
    key=("step", "layer", "signature"),
    is_complete=True,
)
RETENTION = ProbeTable(
    "retention",
    {
        "step": COUNT,
        "individual": COUNT,
        "times_shown": COUNT,
        "steps_since_shown": Column(least=0, unless_zero="times_shown"),
        keys.ATTRIBUTE_LOSS: NOT_NEGATIVE,
        keys.CONTROL_LOSS: NOT_NEGATIVE,
    },
    key=("step", "individual"),
    is_complete=True,
)
RETENTION_AT_END = ProbeTable(  # its rows of one checkpoint
    "retention_at_end", RETENTION.columns, key=RETENTION.key, is_complete=RETENTION.is_complete
)
EXPERT_USE = ProbeTable(
    "routing_use",
    {
        "layer": COUNT,
        "kind": Column(is_text=True, each=("role", "attribute")),
        "label": TEXT,
        "expert": COUNT,
        "share": SHARE,
    },
    key=("layer", "kind", "label", "expert"),
)
INFORMATION = ProbeTable(  # ``routing_information``, which earlier versions wrote, had information without a condition
    "routing_information_given_token",
    {
        "layer": COUNT,
        "weights": Column(is_text=True, each=("trained", "untrained")),
        "label": Column(is_text=True, each=("attribute_given_token", "individual_given_token", "token")),
        "information": NUMBER,
        "entropy": NUMBER,
        "fraction": NUMBER,
        "control": NUMBER,
    },
    key=("layer", "weights", "label"),
    is_complete=True,
)
VOCABULARY = ProbeTable("routing_vocabulary", {"layer": COUNT, "specialisation": SHARE}, key=("layer",))
COACTIVATION = ProbeTable(
    "routing_coactivation",
    {"layer": COUNT, "expert": COUNT, "other": COUNT, "share": SHARE},
    key=("layer", "expert", "other"),
    may_be_empty=True,  # a single expert has no other
)
SATURATION = ProbeTable(
    "routing_saturation",
    {"step": COUNT, "layer": COUNT, "saturation": SHARE},
    key=("step", "layer"),
    is_complete=True,
)
ABLATION = ProbeTable(
    "routing_ablation",
    {"layer": COUNT, "expert": COUNT, "attribute": TEXT, "loss_change": NUMBER},
    key=("layer", "expert", "attribute"),
    is_complete=True,
)
BIOGRAPHY = ProbeTable(
    "routing_biography",
    {"layer": COUNT, "position": COUNT, "token": TEXT, "role": TEXT, "expert": COUNT},
    key=("layer", "position"),
    is_complete=True,
)
RECALL = ProbeTable(  # of a simulation, which has no other table; accuracy is the share of a group's facts recalled
    "recall",
    {"arm": TEXT, "group": TEXT, "step": COUNT, "accuracy": SHARE},
    key=("arm", "group", "step"),
    is_complete=True,
)
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
