"""A separate process that makes training steps on request, to measure peak memory and runs side by side.

It reads one JSON object from standard input, {"overrides": [...], "join": 1}. Once it has warmed up, it answers with
the memory that its first steps took and the sizes of model and batches. Every further line is a number of steps; it
makes these steps and answers with the seconds that they took.
"""

import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch

from moefacts.synthetic_data.batches import Batch
from moefacts.synthetic_data.biography import Role


def joined(batch: Batch, times: int) -> Batch:
    """The same biographies with ``times`` of them in each row: longer sequences, the same number of tokens."""
    fields = torch.stack([batch.token_BT, batch.role_BT, batch.attribute_BT, batch.value_position_BT], dim=2)
    biographies = [row[:length] for row, length in zip(fields, batch.length_B, strict=True)]
    rows = [torch.cat(biographies[start : start + times]) for start in range(0, len(biographies), times)]
    lengths = [len(row) for row in rows]
    empty = fields.new_tensor([0, Role.PADDING, -1, -1])
    padded = [torch.cat([row, empty.expand(max(lengths) - len(row), -1)]) for row in rows]
    return Batch(*torch.stack(padded).unbind(2), batch.individual_B[::times], np.array(lengths))


# glibc returns freed large blocks to the system. Resident memory is then the memory in use, without holes.
_NO_HOLES = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


class Worker:
    """The parent's side of a worker process; ``no_holes`` makes its memory exact but its steps slower."""

    def __init__(self, overrides: list[str], join: int = 1, no_holes: bool = False):
        command = [sys.executable, "-m", "benchmarks.worker"]
        environment = os.environ | (_NO_HOLES if no_holes else {})
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.tell({"overrides": overrides, "join": join})

    def tell(self, message: Any) -> None:
        """Send one line to the child."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for one line from the child and return it."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a benchmark process ended early, with exit code {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def main() -> None:
    """Run the child's side."""
    from benchmarks.setting import TrainingCase
    from moefacts.config.presets import compose

    request = json.loads(sys.stdin.readline())
    case = TrainingCase(compose(request["overrides"]), num_batches=4)
    case.batches = [joined(batch, request["join"]) if request["join"] > 1 else batch for batch in case.batches]
    is_cuda = case.materials.device.type == "cuda"
    before = torch.cuda.memory_allocated() if is_cuda else _resident_bytes()
    step = case.stepper()
    for _ in range(3):
        step()
    peak = torch.cuda.max_memory_allocated() if is_cuda else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = case.materials.model
    print(
        json.dumps(
            {
                "step_bytes": peak - before,
                "tokens": case.tokens_per_batch,
                "weight_bytes": 4 * sum(parameter.numel() for parameter in model.parameters()),
                "length": case.batches[0].inputs_BT.shape[1],
                "vocab_size": model.vocab_size,
            }
        ),
        flush=True,
    )
    for line in sys.stdin:
        started, cpu_started = time.perf_counter(), time.process_time()
        for _ in range(json.loads(line)):
            step()
        if is_cuda:
            torch.cuda.synchronize()
        seconds = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started}
        print(json.dumps(seconds), flush=True)


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
