"""What goes wrong when torch compiles a training step, as one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from moefacts.errors import UserError
from moefacts.experiments.tasks.memory import first_line, is_out_of_memory

_COMPILER_ERRORS = "torch._dynamo.exc"  # it is imported only when something is compiled


@contextmanager
def compiler_explained() -> Iterator[None]:
    """A context in which a failure of torch's compiler becomes a ``UserError`` that says how to do without."""
    try:
        yield
    except Exception as error:
        exceptions = sys.modules.get(_COMPILER_ERRORS)
        if exceptions is None or not isinstance(error, exceptions.TorchDynamoException) or is_out_of_memory(error):
            raise
        raise UserError(
            f"torch could not compile the model ({first_line(error)}); leave out training.compile=true, or give "
            "it what it needs: on a CPU a C++ compiler, and an installation of torch whose path has no space"
        ) from error
