"""Checksums find what has changed in a file, those that earlier versions wrote too."""

import hashlib

import pytest

from moefacts.errors import UserError
from moefacts.training.checksums import CHECKSUMS, SHA256SUMS, verify, write_checksums

CONTENT = bytes(range(256)) * 5000  # more than a block


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_the_format_is_that_of_simple_file_verification(tmp_path):
    """The check value of CRC-32 is in every description of it."""
    (tmp_path / "name").write_bytes(b"123456789")
    write_checksums(tmp_path, ["name"])
    assert (tmp_path / CHECKSUMS).read_text() == "name CBF43926\n"


def test_a_change_beyond_the_first_block_is_found(file):
    write_checksums(file.parent, [file.name])
    verify(file)
    damage(file)
    with pytest.raises(UserError, match=f"is damaged .its checksum is not that in {CHECKSUMS}"):
        verify(file)


def test_checksums_of_earlier_versions_still_count(file):
    (file.parent / SHA256SUMS).write_text(f"{hashlib.sha256(CONTENT).hexdigest()}  {file.name}\n")
    verify(file)
    damage(file)
    with pytest.raises(UserError, match=f"is damaged .its checksum is not that in {SHA256SUMS}"):
        verify(file)


def test_a_file_without_checksums_is_believed(file):
    verify(file)
