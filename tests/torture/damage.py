"""Damage: whatever has happened to one value or one file of a run, a command works, or says so in one line.

Every file of a small finished run is damaged in every way that ``mutations`` knows, one at a time. Each time one
command runs. It may succeed, or end with exit code 2 and one line that names the file; ``list`` and ``reproduce`` must
go on, because another run is whole.
"""

import functools
import itertools
import json
import random
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from moefacts.config.loader import read_config
from moefacts.runs import layout
from moefacts.synthetic_data.population import build_population
from moefacts.training.checksums import CHECKSUMS
from tests.torture import commands, faulty_study, mutations

STATE = "state.json"
Change = Callable[[Path], Any]  # damages the file at the path


@dataclass(frozen=True)
class Damage:
    """One damage: the file, relative to the run, and in words what happens to it."""

    file: str
    what: str
    change: Change


@dataclass(frozen=True)
class Whole:
    """What is copied and then damaged: a study, its first run, a half-done copy of the run, and a name to ask about."""

    study: Path
    run: Path
    half: Path
    person: str


def prepare(folder: Path) -> Whole:
    """Train and probe what is damaged."""
    study, run, half = faulty_study.train(folder)
    shutil.rmtree(study / "analysis", ignore_errors=True)
    return Whole(study, run, half, somebody(run))


def somebody(run: Path) -> str:
    """The full name of a person in the population of ``run``."""
    config = read_config(run / layout.CONFIG)
    return build_population(config.population, config.seed).full_name(0)


def failures(count: int, seed: int, folder: Path) -> Iterator[str | None]:
    """Try ``count`` damages, chosen by ``seed``; yield what is wrong with each, or None."""
    whole = prepare(folder)
    for damage, command in sample(whole, count, seed):
        yield failure(whole, damage, command, folder / "damaged")


def sample(whole: Whole, count: int, seed: int, allowed: Collection[str] = ()) -> list[tuple[Damage, str]]:
    """Damages in turn to every file, none twice, and a command (``allowed``: of these) for each."""
    chance = random.Random(seed)
    of_file: dict[str, list[Damage]] = {}
    for damage in damages_of(whole.run):
        of_file.setdefault(damage.file, []).append(damage)
    for damages in of_file.values():
        chance.shuffle(damages)
    turns = itertools.zip_longest(*of_file.values())
    chosen = list(itertools.islice((damage for turn in turns for damage in turn if damage), count))
    suitable = ([one for one in _commands_for(damage.file) if not allowed or one in allowed] for damage in chosen)
    return [(damage, chance.choice(some)) for damage, some in zip(chosen, suitable, strict=True) if some]


def damages_of(run: Path) -> Iterator[Damage]:
    """Every damage to every file of ``run``, except to weights, whose contents are not values that anybody typed."""
    newest = layout.checkpoint_folder(run, layout.checkpoint_steps(run)[-2])  # the newest of the half-done run
    for path in [run / layout.CONFIG, run / layout.MANIFEST, newest / STATE]:
        yield from _of_values(path, str(path.relative_to(run)))
    yield from _of_metrics(run / layout.METRICS)
    for path in sorted((run / layout.PROBES).glob("*.parquet")):
        yield from _of_table(path, str(path.relative_to(run)))
    others = [newest / name for name in ("model.safetensors", "optimizer.safetensors", CHECKSUMS)]
    texts = [run / layout.CONFIG, run / layout.MANIFEST, run / layout.METRICS, newest / STATE]
    for path in [*texts, *others, *sorted((run / layout.PROBES).glob("*.parquet"))]:
        yield from (Damage(str(path.relative_to(run)), what, change) for what, change in mutations.FILES.items())
    yield Damage(layout.LOCK, "is a folder", _make_folder)


def _make_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _of_values(path: Path, file: str) -> Iterator[Damage]:
    load, dump = (yaml.safe_load, yaml.safe_dump) if path.suffix == ".yaml" else (json.loads, json.dumps)
    for place in mutations.places(load(path.read_text())):
        for mutation in mutations.VALUES:

            def change(path: Path, place=place, mutation=mutation) -> None:
                path.write_text(dump(mutations.mutated(load(path.read_text()), place, mutation)))

            yield Damage(file, f"{'.'.join(map(str, place)) or 'everything'}: {mutation}", change)


def _of_metrics(path: Path) -> Iterator[Damage]:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for number in (0, len(records) // 2, len(records) - 1):
        for place in mutations.places(records[number]):
            for mutation in mutations.VALUES:

                def change(path: Path, number=number, place=place, mutation=mutation) -> None:
                    lines = path.read_text().splitlines()
                    lines[min(number, len(lines) - 1)] = json.dumps(mutations.mutated(records[number], place, mutation))
                    path.write_text("\n".join(lines) + "\n")

                yield Damage(layout.METRICS, f"line {number + 1}, {''.join(map(str, place))}: {mutation}", change)
    yield from (Damage(layout.METRICS, what, change) for what, change in mutations.LINES.items())


def _of_table(path: Path, file: str) -> Iterator[Damage]:
    for name in pq.read_schema(path).names:
        for what, of_column in mutations.COLUMNS.items():
            change = functools.partial(of_column, name=name)
            yield Damage(file, f"{name}: {what}", functools.partial(mutations.rewrite_table, change=change))
    for what, of_rows in mutations.ROWS.items():
        yield Damage(file, what, functools.partial(mutations.rewrite_table, change=of_rows))


LIST, MEASURE, REPORT, REPRODUCE, ASK, EXPORT, FINETUNE, RESUME = (
    "list", "analyze --no-report --json", "analyze", "reproduce --report", "ask", "export", "finetune", "train --resume"
)  # fmt: skip


def _commands_for(file: str) -> list[str]:
    """The commands that read ``file``, the slow ones less often."""
    if file.endswith("decisions.parquet"):
        return [REPORT, MEASURE, REPRODUCE, ASK]
    if file.startswith(layout.PROBES):
        return [REPORT, MEASURE, REPRODUCE]
    if file.endswith(STATE) or file.endswith("optimizer.safetensors"):
        return [RESUME]
    if file.endswith(("model.safetensors", CHECKSUMS)):
        return [RESUME, ASK, EXPORT, FINETUNE]
    if file == layout.LOCK:
        return [LIST, MEASURE, REPRODUCE, RESUME]
    return [LIST, MEASURE, MEASURE, REPORT, REPRODUCE, ASK, EXPORT, FINETUNE, RESUME]


def failure(
    whole: Whole, damage: Damage, command: str, folder: Path, run_command: Callable = commands.run
) -> str | None:
    """Run ``command`` on a damaged copy in ``folder``; return what is wrong with how it ends, or None."""
    shutil.rmtree(folder, ignore_errors=True)
    study = Path(shutil.copytree(whole.study, folder / whole.study.name, ignore=shutil.ignore_patterns("figures")))
    run = study / whole.run.name
    if command == RESUME:
        shutil.rmtree(run)
        shutil.copytree(whole.half, run)
    elif command in (ASK, EXPORT, FINETUNE):  # of the newest checkpoint, which is the damaged one
        shutil.rmtree(layout.checkpoint_folder(run, layout.checkpoint_steps(run)[-1]))
    path = run / damage.file
    if path.name == STATE:  # as in checkpoints of earlier versions, whose damage no checksum shows
        path.with_name(CHECKSUMS).unlink()
    damage.change(path)
    short, root = f"{study.name}/{run.name}", study.name
    arguments = {
        LIST: ["list", "--root", "."],
        MEASURE: ["analyze", short, "--no-report", "--json"],
        REPORT: ["analyze", short],
        REPRODUCE: ["reproduce", faulty_study.NAME, "--report", "--out", root],
        ASK: ["ask", short, whole.person, "--json"],
        EXPORT: ["export", short, "--out", "exported"],
        FINETUNE: ["finetune", short, "--new", "2", "training.steps=2", "run.dir=tuned"],
        RESUME: ["train", "--resume", short],
    }[command]
    wrong = _what_is_wrong(command, run_command(folder, *arguments), run, folder)
    return wrong and f"{command}: {damage.file}: {damage.what}: {wrong}"


def _what_is_wrong(command: str, outcome: commands.Outcome, run: Path, folder: Path) -> str | None:
    if outcome.code not in (0, 1, 2) or "Traceback" in outcome.stderr:
        return outcome.stderr.strip().splitlines()[-1] + _place(outcome.stderr)
    if command == LIST:
        others = [path.parent.name for path in run.parent.glob("*/config.yaml") if path.parent != run]
        is_there = outcome.code == 0 and all(name in outcome.stdout for name in others)
        return None if is_there else f"the other runs are not listed: {outcome}"
    if command == REPRODUCE:
        return None if outcome.code in (0, 1) and "verdict" in outcome.stdout else f"the study stops: {outcome}"
    if outcome.code == 2 and not outcome.complaint:
        return f"more than one line: {outcome.stderr}"
    if outcome.code == 2 and command != RESUME and run.name not in outcome.complaint:  # resumed is what was typed
        return f"the run is not named: {outcome.complaint}"
    if outcome.code == 1:
        return f"exit code 1: {outcome}"
    if outcome.code == 0 and "--json" in command:
        try:
            json.loads(outcome.stdout, parse_constant=lambda text: 1 / 0)
        except (ValueError, ZeroDivisionError):
            return "what it prints is not JSON"
    left = [str(path) for path in folder.rglob("*.tmp")]
    if left or Path(folder.parent / "evil").exists():
        return f"left behind: {left}"
    return None


def _place(stderr: str) -> str:
    """The last place in the package that a traceback names."""
    ours = [line.strip() for line in stderr.splitlines() if "/moefacts/" in line and line.strip().startswith("File")]
    return f" ({ours[-1].rpartition('/moefacts/')[2]})" if ours else ""
