"""Commands as users type them, in this process or in one of their own, where a crash or a bomb harms nobody."""

import contextlib
import io
import multiprocessing
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Beyond these a command computes for ever, waits for ever, or allocates what a damaged file asks for. Where others use
# the same cores, an ordinary analysis can take longer than a minute, but computes for less.
_SECONDS_COMPUTING, _SECONDS, _BYTES = 60, 600, 12 << 30


@dataclass(frozen=True)
class Outcome:
    """How a command ended; a negative ``code`` is a signal, and None an exception that reached the top."""

    code: int | None
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The one line with which it ended; empty if there is none or more than one."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("moefacts: ")]
        return lines[0] if len(lines) == 1 and self.stderr.rstrip().endswith(lines[0]) else ""


def call(*arguments: str) -> Outcome:
    """Run ``moefacts`` with ``arguments`` in this process and its working folder."""
    from moefacts.cli.app import main

    output, errors, code = io.StringIO(), io.StringIO(), None
    before, sys.argv = sys.argv, ["moefacts", *arguments]
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException:
            traceback.print_exc()
    sys.argv = before
    return Outcome(code, output.getvalue(), errors.getvalue())


class Started:
    """A command in a process of its own, forked from a server that has imported everything.

    Args:
        folder: its working folder.
        arguments: what follows ``moefacts``.
        first: is called in the process before the command; it can be pickled.
    """

    def __init__(self, folder: Path, *arguments: str, first: Callable[[], object] | None = None):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.torture.preload"])
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(str(folder), arguments, first, sender))
        self._process.start()
        sender.close()

    def kill(self) -> None:
        """Kill it as the system does, without a chance to clean up; nothing happens if it has ended."""
        self._process.kill()

    def wait(self) -> Outcome:
        """Wait for its end."""
        try:
            outcome = self._receiver.recv()
        except EOFError:
            outcome = None
        self._process.join()
        return outcome or Outcome(self._process.exitcode, "", f"the process ended with {self._process.exitcode}")


def run(folder: Path, *arguments: str, first: Callable[[], object] | None = None) -> Outcome:
    """Run ``moefacts`` with ``arguments`` in the working folder ``folder``, in a process with limits."""
    return Started(folder, *arguments, first=first).wait()


def _work(folder: str, arguments: tuple[str, ...], first: Callable[[], object] | None, sender) -> None:
    os.chdir(folder)
    os.environ["WANDB_MODE"] = "offline"
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS_COMPUTING, _SECONDS_COMPUTING))
    signal.alarm(_SECONDS)
    if first is not None:
        first()
    sender.send(call(*arguments))
    sender.close()
    os._exit(0)
