"""Peak memory and time of a step, in fresh processes, as one quantity grows and the others stay fixed.

Memory is what the first steps add to a process that holds the data, the model and the libraries: activations,
gradients and the optimizer's state. On CUDA it is the peak of allocated memory. Longer sequences put several
biographies in one row, with the same number of tokens in all. Populations grow from 1,000 to a million people, which
must not cost the step anything. Experts may take no more memory than their gradients and moments, which is three times
the bytes of their weights.
"""

from statistics import median

from benchmarks.setting import Result, Row, Setting
from benchmarks.worker import Worker

_NAMES = [f"population.pools.{pool}=200" for pool in ("first_names", "middle_names", "last_names")]
POPULATION_GOAL = EXPERTS_GOAL = 1.1
_STATE = 3  # the gradient and AdamW's two moments of every weight, each as large as the weight
SERIES: dict[str, dict[str, tuple[list[str], int]]] = {
    "batch": {str(size): ([f"training.batch_size={size}"], 1) for size in (64, 128, 256)},
    "length": {f"x{times}": ([], times) for times in (1, 2, 4)},
    "vocabulary": {
        f"{count} per pool": ([override.replace("=200", f"={count}") for override in _NAMES], 1)
        for count in (100, 400, 900)
    },
    "experts": {str(count): (["model=moe_laptop", f"model.moe.num_experts={count}"], 1) for count in (2, 8, 32)},
    "population": {
        f"{size:,}": ([*_NAMES, f"population.size={size}"], 1) for size in (1_000, 10_000, 100_000, 1_000_000)
    },
}


def run(setting: Setting, series: dict[str, dict[str, tuple[list[str], int]]] = SERIES) -> Result:
    """Measure every point with two processes, one for its memory and one for its time."""
    result: Result = {}
    for name, points in series.items():
        result[name] = {}
        for point, (overrides, join) in points.items():
            with Worker([*overrides, *setting.overrides], join, no_holes=True) as worker:
                measured = worker.answer()
            with Worker([*overrides, *setting.overrides], join) as worker:
                worker.answer()
                seconds = []
                for _ in range(max(2, setting.rounds // 5)):
                    worker.tell(2)
                    seconds.append(worker.answer()["cpu_seconds"] / 2)
            result[name][point] = measured | {"step_seconds": median(seconds)}
    return result


def rows(result: Result) -> list[Row]:
    """The table rows of a result: every series over its first point."""
    table = []
    for name, points in result.items():
        if name not in SERIES:
            continue
        first = next(iter(points.values()))
        times = " ".join(f"{point['step_seconds'] / first['step_seconds']:.2f}" for point in points.values())
        memory = " ".join(f"{point['step_bytes'] / first['step_bytes']:.2f}" for point in points.values())
        is_goal = name == "population"
        last = list(points.values())[-1]
        holds = last["step_seconds"] / first["step_seconds"] < POPULATION_GOAL if is_goal else None
        table.append(Row(f"step time, {name} {' / '.join(points)}", times, "1" if is_goal else "", holds))
        memory_holds = last["step_bytes"] / first["step_bytes"] < POPULATION_GOAL if is_goal else None
        what = f"step memory ({first['step_bytes'] / 2**20:.0f} MiB), {name} {' / '.join(points)}"
        table.append(Row(what, memory, "1" if is_goal else "", memory_holds))
        if name == "experts":
            rest = [point["step_bytes"] - _STATE * point["weight_bytes"] for point in points.values()]
            text = " ".join(f"{one / rest[0]:.2f}" for one in rest)
            what = f"the same without gradients and moments ({rest[0] / 2**20:.0f} MiB)"
            table.append(Row(what, text, "1", rest[-1] / rest[0] < EXPERTS_GOAL))
    return table
