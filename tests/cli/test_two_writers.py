"""Of several processes that write one thing, one wins, and nothing of the others is mixed in (issue 16, line 1)."""

import threading

import pytest
from filelock import FileLock, Timeout
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.experiments.tasks import dataset, probe
from moefacts.runs import durable, layout
from moefacts.runs.durable import new_folder
from moefacts.runs.locks import turn_to_write
from moefacts.runs.reader import read_run
from moefacts.runs.tables import ATTENTION, DECISIONS
from moefacts.synthetic_data.population import build_population
from tests.conftest import TINY, tiny_config

SMALL = [*TINY, "dataset.train=50", "dataset.validation=8", "dataset.unseen=8"]


def test_1_while_one_process_writes_a_folder_others_are_refused(fails, finished_run, tmp_path):
    out = tmp_path / "out"
    with new_folder(out) as of_the_first:
        (of_the_first / "file").touch()
        for command in (["generate", *SMALL, "--out", out], ["export", finished_run, "--out", out]):
            assert f"{out} is being written by another process" in fails(*command)
    assert [path.name for path in out.iterdir()] == ["file"]
    assert list(tmp_path.iterdir()) == [out]


def test_1_a_dataset_that_lost_the_race_leaves_that_of_the_other_seed_whole(fails, tmp_path, monkeypatch):
    """Both have looked for the other before either has begun, so that only the end can decide."""
    write, out = dataset.write_dataset, tmp_path / "out"
    monkeypatch.setattr(durable, "is_being_written", lambda _: False)

    def overtaken(*arguments):
        monkeypatch.setattr(dataset, "write_dataset", write)
        dataset.generate_dataset(tiny_config(*SMALL, "seed=1"), out, "another command", lambda _: None)
        write(*arguments)

    monkeypatch.setattr(dataset, "write_dataset", overtaken)
    assert "was written by another process meanwhile" in fails("generate", *SMALL, "seed=0", "--out", out)
    fingerprints = [build_population(tiny_config().population, seed).fingerprint for seed in (0, 1)]
    card = (out / "README.md").read_text()
    assert [fingerprint in card for fingerprint in fingerprints] == [False, True]
    assert list(tmp_path.iterdir()) == [out]


def test_1_who_writes_into_a_folder_waits_for_the_turn(tmp_path, capsys):
    has_begun, order = threading.Event(), []

    def second():
        has_begun.set()
        with turn_to_write(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with turn_to_write(tmp_path):
        thread.start()
        has_begun.wait()
        while "waiting for another process" not in capsys.readouterr().err:
            pass
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.usefixtures("quick_figures")
def test_1_figures_and_report_of_a_run_are_written_in_one_turn(finished_run, monkeypatch, tmp_path):
    from moefacts.analysis import figures, report

    taken = []

    def looking(write):
        def looked_at(*arguments):
            with pytest.raises(Timeout):
                FileLock(tmp_path / "out" / layout.WRITING_LOCK, blocking=False).acquire()
            taken.append(write.__name__)
            return write(*arguments)

        return looked_at

    monkeypatch.setattr(figures, "draw_figures", looking(figures.draw_figures))
    monkeypatch.setattr(report, "write_report", looking(report.write_report))
    result = CliRunner().invoke(cli.app, ["analyze", str(finished_run), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert taken == ["draw_figures", "write_report"]


def test_1_what_another_process_probes_meanwhile_is_not_probed_again(finished_run, monkeypatch):
    run = read_run(finished_run)
    assert run.missing_probes == ["attention", "decisions"]

    class Waited:
        """A turn for which this process waited while another wrote the table."""

        def __init__(self, folder):
            ATTENTION.path(folder).touch()
            DECISIONS.path(folder).touch()

        def __enter__(self):
            pass

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(probe, "turn_to_write", Waited)
    monkeypatch.setattr(probe, "load_run", lambda _: pytest.fail("the model was loaded"))
    assert probe.probe_run(run) == []
