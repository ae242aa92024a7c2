"""Write tensors as safetensors files with the permissions, and the errors, of any other file."""

import os
import stat
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from moefacts.runs.durable import write_durably


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write ``tensors`` durably to a file that whoever may read its neighbours may read.

    The library makes a file that only its owner may read (huggingface/safetensors issue 782).

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}

    def write(temporary: Path) -> None:
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)  # what the umask and the folder's access list make of a new file
        try:
            save_file(contiguous, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            raise _disk_error(error, path) from error
        temporary.chmod(mode)

    write_durably(path, write)


def _disk_error(error: SafetensorError, path: Path) -> Exception:
    """The ``OSError`` behind an error of safetensors, which gives its number in words only; else the error itself."""
    numbers = [int(part.split(")")[0]) for part in str(error).split("os error ")[1:]]
    return OSError(numbers[0], os.strerror(numbers[0]), str(path)) if numbers else error
