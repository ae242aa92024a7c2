"""Everything that can go wrong with one value, one text file or one table."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Place = tuple[str | int, ...]  # the keys and indices that lead to a value

_DEEP: list = []
for _ in range(60):
    _DEEP = [_DEEP]
_MISSING = object()
# What takes the place of a value: a constant, or a function of it.
VALUES: dict[str, Any] = {
    "missing": lambda value: _MISSING,
    "null": None,
    "true": True,
    "minus one": -1,
    "zero": 0,
    "a half": 0.5,
    "2**63": 2**63,
    "10**30": 10**30,
    "10**400": 10**400,
    "1.7e308": 1.7e308,
    "NaN": math.nan,
    "infinity": -math.inf,
    "no text": "",
    "text": "x",
    "markup": "[red]x[/nothing]",
    "a path": "../../../evil",
    "an interpolation": "${oc.env:HOME}",
    "a long text": "x" * 100_000,
    "an empty list": [],
    "an empty object": {},
    "a list": [1, "a", None],
    "an object": {"a": 1},
    "deep": _DEEP,
    "as text": lambda value: str(value),
    "in a list": lambda value: [value],
    "in an object": lambda value: {"value": value},
    "negated": lambda value: -value if isinstance(value, int | float) else f"-{value}",
    "twice": lambda value: 2 * value if isinstance(value, int | float | str | list) else [value, value],
}


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """The places of ``value`` and of everything in it."""
    yield place
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*place, key))


def mutated(whole: Any, place: Place, mutation: str) -> Any:
    """A copy of ``whole`` in which the value at ``place`` is mutated; at the very top, "missing" gives null."""
    box = [copy.deepcopy(whole)]
    parent: Any = box
    *way, last = (0, *place)
    for key in way:
        parent = parent[key]
    change = VALUES[mutation]
    new = change(parent[last]) if callable(change) else change
    if new is not _MISSING:
        parent[last] = new
    elif parent is box:
        return None
    else:
        del parent[last]
    return box[0]


def _replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(8 << 30)


def _alias_bomb(path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path.write_text("\n".join(lines) + "\n")


# What can happen to a file as a whole.
FILES: dict[str, Callable[[Path], Any]] = {
    "is missing": Path.unlink,
    "is a folder": _replaced_by_folder,
    "is empty": lambda path: path.write_bytes(b""),
    "is cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "lacks its last byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "is binary": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "has a zero in it": lambda path: path.write_bytes(path.read_bytes()[:40] + b"\0" + path.read_bytes()[40:]),
    "is text of another encoding": lambda path: path.write_bytes('{"é": 1}\n'.encode("utf-16")),
    "is 200,000 brackets": lambda path: path.write_bytes(b"[" * 200_000),
    "is 100,000 nested objects": lambda path: path.write_bytes(b'{"a":' * 100_000),
    "is 200,000 spaces deep": lambda path: path.write_text("\n".join(" " * n + "a:" for n in range(600))),
    "is an alias bomb": _alias_bomb,
    "is a number of a million digits": lambda path: path.write_bytes(b"9" * 1_000_000),
    "grew to 8 GiB of zeros": _sparse,
    "is twice as long": lambda path: path.write_bytes(path.read_bytes() * 2),
    "names a class": lambda path: path.write_text("!!python/object/apply:os.system ['touch evil']\n"),
}


def _with_lines(change: Callable[[list[str]], list[str]]) -> Callable[[Path], Any]:
    return lambda path: path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


# What can happen to the lines of a metrics file.
LINES: dict[str, Callable[[Path], Any]] = {
    "lacks its first line": _with_lines(lambda lines: lines[1:]),
    "lacks its last line": _with_lines(lambda lines: lines[:-1]),
    "has lines out of order": _with_lines(lambda lines: [*lines[1:], lines[0]]),
    "has a line twice": _with_lines(lambda lines: [lines[0], *lines]),
    "has an empty line": _with_lines(lambda lines: [lines[0], "\n", *lines[1:]]),
    "has a line that is no object": _with_lines(lambda lines: [lines[0], "[1]\n", *lines[1:]]),
    "has a very long line": _with_lines(lambda lines: [lines[0], json.dumps({"step": 1, "x" * (1 << 25): 1}) + "\n"]),
}


def _column(table: pa.Table, name: str, values: list) -> pa.Table:
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # of several types
        column = pa.array([None if value is None else str(value) for value in values])
    return table.set_column(table.column_names.index(name), name, column)


def _first(change: Callable[[Any], Any]) -> Callable[[pa.Table, str], pa.Table]:
    def apply(table: pa.Table, name: str) -> pa.Table:
        head, *rest = table.column(name).to_pylist()
        return _column(table, name, [change(head), *rest])

    return apply


def _all(change: Callable[[Any], Any]) -> Callable[[pa.Table, str], pa.Table]:
    return lambda table, name: _column(table, name, [change(value) for value in table.column(name).to_pylist()])


def _number(number: float) -> Callable[[Any], Any]:
    return lambda value: number if isinstance(value, int | float) else str(number)


# What can happen to one column of a table.
COLUMNS: dict[str, Callable[[pa.Table, str], pa.Table]] = {
    "missing": lambda table, name: table.drop_columns([name]),
    "renamed": lambda table, name: table.rename_columns(["x" if n == name else n for n in table.column_names]),
    "twice": lambda table, name: table.append_column(name, table.column(name)),
    "a null in it": _first(lambda value: None),
    "only nulls": _all(lambda value: None),
    "text": _all(str),
    "lists": _all(lambda value: [value]),
    "objects": _all(lambda value: {"a": value}),
    "true": _all(lambda value: True),
    "all alike": lambda table, name: _column(table, name, [table.column(name)[0].as_py()] * len(table)),
    "a NaN in it": _first(_number(math.nan)),
    "an infinity in it": _first(_number(math.inf)),
    "a negative in it": _first(_number(-1)),
    "a large number in it": _first(_number(10**15)),
    "1e300 in it": _first(_number(1e300)),
    "negative": _all(_number(-3)),
    "other text in it": _first(lambda value: "x" if isinstance(value, str) else value),
    "long text in it": _first(lambda value: "x" * 100_000 if isinstance(value, str) else value),
    "backwards": lambda table, name: _column(table, name, table.column(name).to_pylist()[::-1]),
}
# What can happen to the rows of a table.
ROWS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "no rows": lambda table: table.slice(0, 0),
    "one row": lambda table: table.slice(0, 1),
    "half of its rows": lambda table: table.slice(0, len(table) // 2),
    "every row twice": lambda table: pa.concat_tables([table, table]),
    "no columns": lambda table: table.select([]),
}


def rewrite_table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replace the Parquet table at ``path`` by what ``change`` makes of it."""
    pq.write_table(change(pq.read_table(path)), path)
