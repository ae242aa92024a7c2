"""Command lines: whatever somebody types, it works, or ends with exit code 2 and one line, and nothing is half-written.

Every command gets what it takes, mixed with odd values, with options of its own, of others and of Hydra, and with
words that are missing, twice or in another order. Nothing trains: what would take long is replaced (``tame``).
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from moefacts.config.fields import config_keys
from moefacts.config.schema import RunConfig
from moefacts.runs import layout
from tests.conftest import TINY
from tests.torture import commands
from tests.torture.damage import somebody

ODD = ("nan", "inf", "-inf", "1e30", "-1e30", "1e400", str(1 << 63), "9" * 50, "9" * 5000, "-1", "0", "1", "2", "",
       "''", "null", "'a b'", "a b", "é", "Bogotá", "\udcff", "[[1,[2]],{a:[b]}]", "{a:{b:[c]}}", "[]", "{}", "${seed}",
       "${no.such}", "${oc.env:HOME}", "true", "1.5", "~/x", "../x", "/dev/null/x", "/proc/x", ".", "..", "a,b",
       "range(0,3)", "range(0,3,0)", "glob(*)", "*", "'", '"', "\\", "#", "a=b", "=", "-", "$", "(", "choice(1,2)",
       "1_0", "0x10", "007", "???", "[red]x[/red]", "x" * 300, "\t", "a\nb", "\x1b[31m", "🙂", "run", "study/other",
       "--", "-m", "-h", "--help", "--cfg", "--cfg=job", "--resolve", "--info", "--json", "--out", "--step", "--no")  # fmt: skip
PREFIXES = ("", "", "", "+", "++", "~")
KEYS = (*config_keys(RunConfig), "scale", "model", "run", "population", "hydra.job.name", "hydra.sweep.dir", "é", "")
_TINY = "the tiny settings"  # stands for all of them
# Command -> what it needs, and its options, each with values that make sense; none if it takes no value.
GRAMMAR: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "train": ((_TINY,), {"--resume": ("run", "study/other"), "-m": (), "--cfg": ("job", "hydra"), "--info": ("config",),
                         "--resolve": (), "--package": ("model",), "--config-dir": (".",), "--help": ()}),
    "finetune": (("run",), {"--new": ("4", "8"), "--step": ("4", "12"), "-m": (), "--cfg": ("job",), "--help": ()}),
    "generate": ((_TINY,), {"--out": ("out", "new/out"), "--preview": ("2",), "--cfg": ("job",), "-m": ()}),
    "reproduce": (("tiny",), {"--dry-run": (), "--report": (), "--scale": ("laptop", "paper"), "--out": ("out", "study"),
                              "--launcher": ("basic", "joblib"), "--jobs": ("2",), "--retry-failed": (), "--force": ()}),
    "analyze": (("run", "study/other"), {"--out": ("out",), "--threshold": ("0.9",), "--json": (), "--no-report": ()}),
    "ask": (("run", "SOMEBODY"), {"--top": ("2",), "--step": ("4", "12"), "--json": ()}),
    "export": (("run",), {"--out": ("out",), "--step": ("4",)}),
    "list": ((), {"--root": (".", "study")}),
}  # fmt: skip
_TAKE_SETTINGS = ("train", "finetune", "generate", "reproduce")
_SHARE_ODD, _SHARE_OPTION, _SHARE_WITHOUT_COMMAND = 0.4, 0.4, 0.03


def failures(count: int, seed: int, folder: Path) -> Iterator[str | None]:
    """Type ``count`` command lines, chosen by ``seed``; yield what is wrong with how each ends, or None."""
    whole = prepare(folder)
    chance = random.Random(seed)
    for _ in range(count):
        yield failure(whole, command_line(chance, somebody(whole / "run")), folder / "typed" / "here")


def prepare(folder: Path) -> Path:
    """A folder with two runs."""
    whole = folder / "whole"
    whole.mkdir()
    outcome = commands.run(whole, "train", *TINY, "run.dir=run")
    assert outcome.code == 0, outcome
    shutil.copytree(whole / "run", whole / "study" / "other")
    return whole


def command_line(chance: random.Random, person: str) -> list[str]:
    """What somebody might type after ``moefacts``; ``person`` is in the population of the runs."""
    name = chance.choice(list(GRAMMAR))
    needed, options = GRAMMAR[name]
    words = list(needed)
    for option, values in options.items():
        if chance.random() < _SHARE_OPTION:
            words += [option, _value(chance, values)] if values else [option]
    if name in _TAKE_SETTINGS:
        words += [_setting(chance) for _ in range(chance.randint(0, 2))]
    for _ in range(chance.choice((0, 0, 1, 2))):
        words = _disturbed(chance, words)
    typed = {_TINY: list(TINY), "SOMEBODY": [person]}
    line = [part for word in words for part in typed.get(word, [word])]
    return line if chance.random() < _SHARE_WITHOUT_COMMAND else [name, *line]


def _value(chance: random.Random, sensible: tuple[str, ...]) -> str:
    return _odd(chance) if chance.random() < _SHARE_ODD else chance.choice(sensible)


def _odd(chance: random.Random) -> str:
    if chance.random() < 0.9:
        return chance.choice(ODD)
    return "".join(chr(chance.choice((chance.randint(1, 126), chance.randint(160, 0xD7FF)))) for _ in range(6))


def _setting(chance: random.Random) -> str:
    return f"{chance.choice(PREFIXES)}{chance.choice(KEYS)}={_odd(chance)}"


def _disturbed(chance: random.Random, words: list[str]) -> list[str]:
    """The words with one missing, twice, replaced by something odd, or elsewhere."""
    if not words:
        return [_odd(chance)]
    place, other = (chance.randrange(len(words)) for _ in range(2))
    before, word, after = words[:place], words[place], words[place + 1 :]
    changed = [[], [word, word], [_odd(chance)], [word, _odd(chance)], None][chance.randrange(5)]
    if changed is not None:
        return [*before, *changed, *after]
    rest = [*before, *after]
    return [*rest[:other], word, *rest[other:]]


def failure(whole: Path, line: list[str], place: Path, run_command: Callable = commands.run) -> str | None:
    """Type ``line`` in ``place``, a copy of ``whole``; return what is wrong with how it ends, or None."""
    shutil.rmtree(place.parent, ignore_errors=True)
    shutil.copytree(whole, place)
    before = _files(place.parent)
    outcome = run_command(place, *line, first=tame)
    wrong = _what_is_wrong(line, outcome, _files(place.parent) - before)
    return wrong and f"{line}: {wrong}"


def _what_is_wrong(line: list[str], outcome: commands.Outcome, new: set[str]) -> str | None:
    if outcome.code not in (0, 1, 2) or "Traceback" in outcome.stderr:
        return outcome.stderr.strip()[-1500:] or f"exit code {outcome.code}"
    if outcome.code == 1 and "reproduce" not in line:  # which may be incomplete
        return f"exit code 1: {outcome}"
    if outcome.code == 2 and not outcome.complaint:
        return f"not one line: {outcome}"
    if any(name.endswith(".tmp") for name in new):
        return f"left over: {sorted(new)}"
    if outcome.code == 2 and new:
        return f"half-written: {sorted(new)} {outcome.complaint}"
    return None


def _files(folder: Path) -> set[str]:
    """The names of all files in ``folder`` but locks."""
    locks = (layout.LOCK, layout.WRITING_LOCK)
    return {os.fspath(path) for path in folder.rglob("*") if path.is_file() and path.name not in locks}


def tame() -> None:
    """Replace what takes long, in this process, by the checks that it begins with."""
    from moefacts.experiments.engine import estimates, launch
    from moefacts.experiments.tasks import dataset, train
    from moefacts.experiments.tasks.memory import check_memory, need_of_dataset, need_of_training
    from moefacts.runs.location import run_directory

    os.environ["HOME"] = os.getcwd()
    generate, preview = dataset.generate_dataset, dataset.preview

    def execute(config: RunConfig, extend: bool = False) -> Path:
        check_memory(need_of_training(config))
        return run_directory(config)

    def generate_few(config, *arguments):
        sizes = config.dataset
        if sizes.train + sizes.validation + sizes.unseen > 1000:
            check_memory(need_of_dataset(config))
            sizes.train, sizes.validation, sizes.unseen = (
                min(n, 20) for n in (sizes.train, sizes.validation, sizes.unseen)
            )
        return generate(config, *arguments)

    train.execute = execute
    dataset.generate_dataset = generate_few
    dataset.preview = lambda config, count: preview(config, min(count, 20))
    estimates._measured_speed = lambda config: estimates.Speed(50.0, 1e-6, 0.0, "no trial")
    launch.launch_runs = lambda plan, *arguments, **options: plan
