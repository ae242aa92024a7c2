"""Checksums of the files of a checkpoint.

They are CRC-32, which finds every damage of up to 32 bits in a row and misses any other once in 2^32, in a file of the
simple file verification format that ``cksfv`` and ``rhash`` read. SHA-256, which earlier versions stored, takes longer
than a scheduler waits for the largest models where the processor has no instructions for it (docs/reliability.md).
"""

import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

from moefacts.errors import UserError
from moefacts.runs.durable import write_durably
from moefacts.runs.stored import parse_json, read_bounded

CHECKSUMS = "checksums.sfv"
SHA256SUMS = "SHA256SUMS"  # of earlier versions
_MOST_BYTES = 1 << 16
_BLOCK = 1 << 20
_LONGEST_HEADER = 100_000_000  # of a file of tensors, as in its format


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write the checksums of the files ``names`` of ``folder`` beside them."""
    lines = (f"{_line(folder / name, CHECKSUMS)}\n" for name in names)
    write_durably(folder / CHECKSUMS, "".join(lines).encode())


def verify(path: Path) -> None:
    """Refuse a file that is not as it was saved. Checkpoints of earlier versions have no checksums and are believed.

    Raises:
        UserError: the file is missing, cannot be read, or has another checksum.
    """
    _refuse_too_long(path)
    sums = next((sums for name in (CHECKSUMS, SHA256SUMS) if (sums := path.parent / name).exists()), None)
    if sums is None:
        return
    try:
        listed = read_bounded(sums, _MOST_BYTES).decode(errors="replace").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{sums} cannot be read: {error}") from None
    try:
        if _line(path, sums.name) not in listed:
            raise UserError(f"{path} is damaged (its checksum is not that in {sums.name})")
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None


def _refuse_too_long(path: Path) -> None:
    """Refuse a file of tensors that is longer than its header says, before the rest of it is read."""
    if path.suffix != ".safetensors":
        return
    try:
        with path.open("rb") as file:
            length = min(int.from_bytes(file.read(8), "little"), _LONGEST_HEADER)
            header = parse_json(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            expected = file.tell() + max(ends, default=0)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return  # what is wrong shows when it is read
    if path.stat().st_size > expected:
        raise UserError(f"{path} is damaged (got {path.stat().st_size:,} bytes, expected {expected:,})")


def _line(path: Path, sums: str) -> str:
    """The line that the file ``sums`` has for a file."""
    with path.open("rb") as file:
        if sums == SHA256SUMS:
            return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}"
        crc, block = 0, memoryview(bytearray(_BLOCK))
        while length := file.readinto(block):
            crc = zlib.crc32(block[:length], crc)
    return f"{path.name} {crc:08X}"
