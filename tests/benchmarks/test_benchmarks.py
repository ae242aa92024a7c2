"""Every benchmark runs at tiny size and returns what its table and its readers need. No test asserts a speed."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import (
    data,
    finetuning,
    floor,
    generate,
    gpu,
    memory,
    moe,
    parts,
    recurrence,
    save,
    scaling,
    sizes,
    study,
    table,
    timing,
    transformers,
)
from benchmarks.setting import Setting, TrainingCase
from benchmarks.worker import joined
from moefacts.errors import UserError
from moefacts.experiments.engine.study import Findings, GridRun, Study
from tests.conftest import TINY, tiny_config

SETTING = Setting(2, tuple(TINY))


def study_of_two_tiny_runs():
    """A study of two seeds, of which the benchmark makes one."""
    runs = [GridRun((*TINY, "model=dense_laptop", f"seed={seed}"), labels={"size": 64}) for seed in (3, 4)]

    def examine(runs):
        return Findings({}, [], {}, runs)

    return Study("tiny", "Tiny", "–", {"laptop": runs}, {"laptop": ()}, examine)


MEASURED = {
    "floor": lambda: floor.run(SETTING),
    "transformers": lambda: transformers.run(SETTING),
    "sizes": lambda: sizes.run(SETTING, widths=(8,), batch_sizes=(4,)),
    "study": lambda: study.run(Setting(1, ()), (study_of_two_tiny_runs(),)),
    "data": lambda: data.run(SETTING),
    "generate": lambda: generate.run(Setting(2, (*TINY, "dataset.train=500"))),
    "memory": lambda: memory.run(SETTING, {"length": {"x2": ([], 2)}}),
    "moe": lambda: moe.run(SETTING, tokens=64),
    "finetuning": lambda: finetuning.run(SETTING, num_slots=9),
    "parts": lambda: parts.run(SETTING),
    "recurrence": lambda: recurrence.run(SETTING, batch=2, length=5, widths=(4,)),
    "scaling": lambda: scaling.run(SETTING),
    "save": lambda: save.run(Setting(1, ("scale=laptop", "model=dense_laptop", *TINY))),
    "gpu": lambda: gpu.run(
        Setting(2, (*TINY, "device=cpu", "tokenizer=word", "model.d_head=16")), matrix_size=64, compile_too=False
    ),
}
KEYS = {
    "floor": {"dense", "moe"},
    "transformers": {"dense", "moe"},
    "sizes": {"dense, width 8, batch 4", "32 experts, 1 per token, width 8, batch 4"},
    "study": {"tiny"},
    "data": {"assembly_share", "evaluation_share"},
    "generate": {"biographies_per_second", "biographies_per_cpu_second"},
    "memory": {"length"},
    "moe": {"training step"},
    "finetuning": {"dense_laptop", "moe_laptop"},
    "parts": {"attention", "head and loss", "RMSNorm"},
    "recurrence": {"training step"},
    "scaling": {"ratio", "cores"},
    "save": {"bytes", "seconds", "cpu_seconds_of_checksums"},
    "gpu": {"matrix_peak_tflops", "dense", "moe", "bf16_experts_relative_error"},
}


_SLOW = ("memory", "scaling")  # they start processes


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in _SLOW)) for name in command.NAMES]
)
def test_every_benchmark_runs_and_its_result_has_its_keys_and_rows(name, monkeypatch):
    if name == "scaling":
        monkeypatch.setattr(scaling, "num_cores", lambda: 1)  # threads that wait for each other keep a core busy
    if name == "transformers":
        pytest.importorskip("transformers")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = json.loads(json.dumps(MEASURED[name]()))
    assert KEYS[name] <= result.keys()
    assert all(row.text() for row in command.rows_of(name, result))
    for model in ("dense", "moe"):
        if name in ("floor", "transformers"):
            assert result[model]["ratio"] > 0
        if name == "transformers":
            assert result[model]["valid"], "both sides must compute the same losses"
    if name == "gpu":
        assert 0 < result["bf16_experts_relative_error"] < 0.05


def test_the_floor_counts_the_multiplications_of_the_model():
    case = TrainingCase(tiny_config(), num_batches=1)
    batch, model = case.batches[0], case.config.model
    width = model.d_model * model.num_heads * model.d_head  # of queries, of keys, of values and of the output
    weights = 4 * width + 2 * model.d_model * model.d_hidden + model.d_model * case.materials.model.vocab_size
    longest = int(batch.length_B.max()) - 1  # the few sequences of this batch are padded to the longest
    scores = len(batch.token_BT) * model.num_heads * model.d_head * longest**2
    expected = 6 * batch.num_targets * weights + 12 * scores
    for in_parts in (False, True):
        products = floor.unavoidable_products(case, in_parts)
        products()
        assert products.flops == expected


def test_the_floor_of_a_mixture_counts_the_assignments_that_were_made():
    case = TrainingCase(tiny_config("model=moe_laptop", "model.moe.d_expert=16"), num_batches=1)
    assert sum(floor.rows_of_experts(case)[0]) == 2 * case.batches[0].num_targets


def test_losses_that_disagree_make_the_comparison_void(monkeypatch):
    pytest.importorskip("transformers")
    load = transformers.load_theirs

    def load_spoiled(case):
        theirs = load(case)
        with torch.no_grad():
            theirs.lm_head.weight.mul_(1.01)
        return theirs

    monkeypatch.setattr(transformers, "load_theirs", load_spoiled)
    result = transformers.run(SETTING)
    assert not result["dense"]["valid"]
    assert not any(row.holds for row in transformers.rows(result))
    assert "VOID" in transformers.rows(result)[0].value


def test_the_plain_peer_computes_the_same_losses_as_ours():
    for kind in sizes.KINDS:
        found = sizes.cell(Setting(1, tuple(TINY)), kind, 8, 4)
        assert found["valid"], (kind, found["largest_loss_difference"])
        assert set(found["times"]) == {"plain", "transformers"} - ({"transformers"} if kind.startswith("32") else set())


def test_the_parts_of_a_study_add_up_and_are_those_of_one_seed():
    made = study.split_of(study.first_seed(study_of_two_tiny_runs()), ())
    assert made["runs"] == 1
    assert sum(made["seconds"].values()) == pytest.approx(made["total_seconds"])
    assert all(made["seconds"][part] > 0 for part in (study.STEPS, study.EVALUATION, study.START, study.CHECKPOINTS))


def test_a_study_whose_runs_start_from_others_trains_those_first():
    first = GridRun((*TINY, "model=dense_laptop", "seed=3"), labels={"size": 64})
    settings = ("training.learning_rate=1e-3",)
    second = GridRun(first.overrides, labels={"size": 64}, needs=(first,), settings_from=lambda runs: settings)
    made = study.split_of(replace(study_of_two_tiny_runs(), grids={"laptop": [second]}), ())
    assert made["runs"] == 2


def test_a_part_inside_another_counts_once(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(study, "clock", lambda: now[0])
    split = study.Split()

    def inner():
        now[0] += 2.0

    def outer():
        now[0] += 1.0
        split.timed(study.EVALUATION, inner)()
        now[0] += 4.0

    split.timed(study.STEPS, outer)()
    assert (split.seconds[study.STEPS], split.seconds[study.EVALUATION]) == (5.0, 2.0)


def test_ratios_are_quotients_within_rounds():
    slow, fast = timing.Timing((2.0, 40.0, 6.0)), timing.Timing((1.0, 20.0, 3.0))
    assert slow.over(fast) == timing.Spread(2.0, 2.0, 2.0)


def test_joined_rows_hold_the_same_targets(batcher):
    batch = batcher.training_batch(0, 8)
    longer = joined(batch, 4)
    assert len(longer.token_BT) == 2
    assert longer.num_tokens == batch.num_tokens
    assert longer.num_targets == int(longer.target_mask_BT.sum())


def test_without_cuda_the_gpu_benchmark_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["gpu"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_json_names_its_command_and_environment_and_replaces_its_own_table_alone(tmp_path, monkeypatch, capsys):
    assert command.main(["floor", "--rounds", "2", "--json", str(tmp_path / "floor.json"), *TINY]) == 0
    result = json.loads((tmp_path / "floor.json").read_text())
    assert result["command"].startswith("python -m benchmarks floor --rounds 2")
    assert {"versions", "git_commit", "device"} <= result["environment"].keys()
    page = tmp_path / "performance.md"
    page.write_text(f"# Title\n{table.BEGIN}old\n{table.END}after\n")
    monkeypatch.setattr(table, "PAGE", page)
    table.main([str(tmp_path / "floor.json")])
    once = page.read_text()
    table.main([str(tmp_path / "floor.json")])
    assert page.read_text() == once
    assert "old" not in once
    page.write_text(once.replace(table.END, f"\n{table.HEADING}generate\n\n| kept |\n\n{table.END}"))
    table.main([str(tmp_path / "floor.json")])
    assert "| kept |" in page.read_text()
    assert page.read_text().count(f"{table.HEADING}floor\n") == 1
    assert f"{result['dense']['ratio']:.2f}" in once


@pytest.mark.parametrize("content", [None, "nonsense", "[1]", "{}", '{"runs": []}'])
def test_a_file_that_is_not_a_result_is_refused_and_leaves_the_page_alone(tmp_path, monkeypatch, content):
    page, file = tmp_path / "performance.md", tmp_path / "x.json"
    page.write_text(f"{table.BEGIN}old\n{table.END}")
    monkeypatch.setattr(table, "PAGE", page)
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=r"x\.json"):
        table.main([str(file)])
    assert page.read_text() == f"{table.BEGIN}old\n{table.END}"


def test_rounds_that_measure_nothing_are_refused(capsys):
    assert command.main(["floor", "--rounds", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err


def test_training_needs_neither_datasets_nor_wandb_nor_transformers():
    code = (
        "import sys; sys.modules.update({name: None for name in ('datasets', 'wandb', 'transformers', 'typer')});"
        "import moefacts.experiments.tasks.train, benchmarks.gpu"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
