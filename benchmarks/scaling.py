"""One single-threaded run per core, side by side, against one run with as many threads as cores."""

import os
from contextlib import ExitStack

from benchmarks.setting import Result, Row, Setting, ratio_text
from benchmarks.timing import Spread
from benchmarks.worker import Worker

STEPS = 3


def num_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(setting: Setting) -> Result:
    """Measure the whole machine's tokens per second both ways, in turns."""
    cores = num_cores()
    with ExitStack() as stack:
        many = [stack.enter_context(Worker(["threads=1", *setting.overrides])) for _ in range(cores)]
        one = stack.enter_context(Worker([f"threads={cores}", *setting.overrides]))
        tokens, *_ = [worker.answer()["tokens"] for worker in [*many, one]]
        side_by_side, alone = [], []
        for _ in range(setting.rounds):
            side_by_side.append(_tokens_per_second(many, tokens))
            alone.append(_tokens_per_second([one], tokens))
    ratio = Spread.of(mine / its for mine, its in zip(side_by_side, alone, strict=True))
    return {
        **ratio.as_ratio(),
        "cores": cores,
        "side_by_side_tokens_per_second": Spread.of(side_by_side).median,
        "one_run_tokens_per_second": Spread.of(alone).median,
    }


def _tokens_per_second(workers: list[Worker], tokens: float) -> float:
    for worker in workers:
        worker.tell(STEPS)
    return sum(STEPS * tokens / worker.answer()["seconds"] for worker in workers)


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    n = result["cores"]
    return [Row(f"tokens/s of {n} runs on one thread each / of one run on {n} threads", ratio_text(result))]
