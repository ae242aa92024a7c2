"""The records of a study's runs in one file: what they measured, without weights, to keep, to send and to go on from.

It is an xz-compressed tar file with a folder a run. The same runs always give the same bytes.
"""

import io
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from moefacts.errors import UserError, check_choice, is_full_disk
from moefacts.experiments.engine.adopt import adopt_from
from moefacts.experiments.engine.grid import Plan
from moefacts.runs import layout
from moefacts.runs.durable import write_durably
from moefacts.runs.manifest import FINISHED
from moefacts.runs.tables import CONFIDENCE, PROBES

_FILES = (layout.CONFIG, layout.MANIFEST, layout.METRICS)
_MOST_BYTES = 8 << 30  # of all files together, unpacked: more than any study's
_ADVICE = "give one that moefacts reproduce STUDY --to-records FILE wrote"
_UNREADABLE = (tarfile.TarError, LZMAError, EOFError)


def check_tables(names: Sequence[str]) -> None:
    """Raise ``UserError`` unless all are names of probe tables."""
    known = [CONFIDENCE.name, *(table.name for tables in PROBES.values() for table in tables)]
    for name in names:
        check_choice("--leave-out", name, known)


def pack_records(plan: Plan, target: Path, without: Sequence[str] = ()) -> int:
    """Write the records of the finished runs of ``plan`` to ``target``, and return how many there are.

    Args:
        plan: the study.
        target: the file.
        without: names of probe tables to leave out, as in ``confidence``, which is the largest in most runs. What
            follows from them is missing where the records are taken over.

    Raises:
        UserError: no run is finished.
    """
    runs = sorted(run.path for run in plan.distinct(FINISHED))
    if not runs:
        raise UserError(f"no run of {plan.study.name} is finished in {plan.out}, so there are no records to write")

    def write(path: Path) -> None:
        with tarfile.open(path, "w:xz") as archive:
            for run in runs:
                for file in _files_of(run, without):
                    _add(archive, f"{run.name}/{file.relative_to(run).as_posix()}", file.read_bytes())

    target.parent.mkdir(parents=True, exist_ok=True)
    write_durably(target, write)
    return len(runs)


def take_over(plan: Plan, archive: Path) -> tuple[Plan, int]:
    """Take over the runs of ``plan`` that have not started and whose records are in ``archive``.

    A run that has begun is left alone. Runs that others start from have no weights then, so others cannot.

    Returns:
        The plan with the new states, and how many runs were taken over.

    Raises:
        UserError: ``archive`` is missing, or not a file of records.
    """
    number = 0
    with _unpacked(archive) as folder:
        while True:  # runs that take settings from others are decided when those are there
            plan, taken = adopt_from(plan, [folder])
            number += taken
            if not taken:
                return plan, number


def _files_of(run: Path, without: Sequence[str]) -> list[Path]:
    tables = [file for file in sorted((run / layout.PROBES).glob("*.parquet")) if file.stem not in without]
    found = [run / name for name in _FILES] + tables
    return [file for file in found if file.exists()]


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))


@contextmanager
def _unpacked(archive: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            with tarfile.open(archive, "r:xz") as opened:
                _extract(opened, folder, archive)
        except _UNREADABLE as error:
            raise UserError(f"{archive} is no file of records, or damaged ({error}); {_ADVICE}") from None
        except OSError as error:
            if is_full_disk(error):
                raise
            raise UserError(f"cannot read {archive}: {error.strerror or error}; {_ADVICE}") from None
        yield folder


def _extract(opened: tarfile.TarFile, folder: Path, archive: Path) -> None:
    """Extract one member at a time, each checked before anything of it is written: the file may be anybody's."""
    total = 0
    for member in opened:
        parts = PurePosixPath(member.name).parts
        total += member.size
        if not member.isfile() or not _is_record(parts):
            raise UserError(f"{archive} holds {member.name!r}, which is no record of a run; {_ADVICE}")
        if total > _MOST_BYTES:
            raise UserError(f"{archive} unpacks to more than {_MOST_BYTES >> 30} GiB; {_ADVICE}")
        opened.extract(member, folder, filter="data")


def _is_record(parts: tuple[str, ...]) -> bool:
    if len(parts) < 2 or any(part.startswith(".") or part == "/" for part in parts):
        return False
    return parts[1:] in {(name,) for name in _FILES} or (len(parts) == 3 and parts[1] == layout.PROBES)
