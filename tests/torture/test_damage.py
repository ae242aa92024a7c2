"""A few of the damages that ``python -m tests.torture damage`` tries by the thousand, in this process."""

import shutil

import pytest

from moefacts.experiments.tasks.probe import probe_run
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.runs.reader import read_run
from tests.conftest import tiny_config
from tests.torture import commands, damage
from tests.torture.faulty_study import MIXTURE, half_done

COUNT, SEED = 36, 0
COMMANDS = (
    damage.LIST,
    damage.MEASURE,
    damage.ASK,
    damage.EXPORT,
    damage.FINETUNE,
    damage.RESUME,
)  # the others draw or train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A tiny mixture, trained and probed, beside a copy, and a half-done copy."""
    folder = tmp_path_factory.mktemp("whole")
    run = execute(tiny_config(*MIXTURE, f"run.dir={folder}/study/run"))
    probe_run(read_run(run))
    shutil.copytree(run, folder / "study" / "other")
    return damage.Whole(folder / "study", run, half_done(run, folder / "half"), damage.somebody(run))


@pytest.mark.parametrize("part", range(2))
def test_a_command_works_on_a_damaged_run_or_says_in_one_line_what_is_wrong(whole, tmp_path, monkeypatch, part):
    def in_this_process(folder, *arguments):
        monkeypatch.chdir(folder)
        return commands.call(*arguments)

    tried = damage.sample(whole, COUNT, SEED, COMMANDS)[part::2]
    assert len(tried) > COUNT / 3
    found = [damage.failure(whole, one, command, tmp_path / "damaged", in_this_process) for one, command in tried]
    assert not [wrong for wrong in found if wrong]


def test_a_damage_that_nobody_notices_would_be_found(whole, tmp_path, monkeypatch):
    """The property can fail: it does for a command that ends with a traceback."""
    outcome = commands.Outcome(None, "", 'Traceback (most recent call last):\n  File "x"\nKeyError: 1\n')
    first = damage.Damage(layout.CONFIG, "is missing", lambda path: path.unlink())
    found = damage.failure(whole, first, damage.MEASURE, tmp_path / "damaged", lambda *_: outcome)
    assert found == "analyze --no-report --json: config.yaml: is missing: KeyError: 1"
