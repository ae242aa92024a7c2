"""A run on two processes, started by torchrun as a user would, with gloo on a CPU."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout, tables
from moefacts.runs.manifest import current_state, read_manifest
from moefacts.runs.reader import read_run
from moefacts.runs.records import read_metrics
from tests.conftest import TINY, tiny_config
from tests.torture.commands import Started

# One dense layer and one mixture, every balancing loss that needs no noise, and two parts per step.
MIXED = [
    *TINY, "model=moe_laptop", "model.moe.num_experts=4", "model.moe.experts_per_token=2", "model.moe.d_expert=16",
    "model.moe.layers=[1]", "model.num_layers=2", "model.d_hidden=32", "training.log_interval=1", "training.gradient_accumulation=2",
    "model.moe.balance.importance=0.1", "model.moe.balance.token_balance=0.1", "model.moe.balance.z_loss=0.01",
    "model.moe.balance.bias_rate=0.01", "training.clip_norm=0.5", "evaluation.biographies=30", "evaluation.batch_size=10",
    "evaluation.interval_control=8",
]  # fmt: skip
TOLERANCE = 1e-4  # relative, of every logged number and weight over 12 steps, since fp32 sums differ by their order


def torchrun(*arguments, **options):
    """Start ``moefacts train`` on two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*command, "-m", "moefacts", "train", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options,
    )  # fmt: skip


def trained_by_torchrun(run, *arguments):
    process = torchrun(*arguments, f"run.dir={run}")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert output.split() == [str(run)]
    assert read_manifest(run)["processes"] == 2
    return run


def trained_by_two(run, *arguments):
    """What ``trained_by_torchrun`` does, in processes that need not import anything."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        Started(run.parent, "train", *arguments, f"run.dir={run}", first=partial(_like_torchrun, rank, port))
        for rank in range(2)
    ]
    ended = [process.wait() for process in processes]
    assert [one.code for one in ended] == [0, 0], ended
    assert read_manifest(run)["processes"] == 2
    return run


def _like_torchrun(rank, port):
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test"} | {k: str(v) for k, v in own.items()}
    signal.alarm(300)  # the machine may be busy


def complaints(errors):
    """The lines of moefacts itself, without the report of torchrun."""
    return [line for line in errors.splitlines() if line.startswith("moefacts: ")]


def records(run):
    lines = read_metrics(run / layout.METRICS)
    return [{k: v for k, v in record.items() if not k.startswith("throughput/")} for record in lines]


def tensors(run, step=12):
    folder = layout.checkpoint_folder(run, step)
    return load_file(folder / "model.safetensors") | load_file(folder / "optimizer.safetensors")


def assert_same(one, other):
    assert layout.checkpoint_steps(one) == layout.checkpoint_steps(other)
    for left, right in zip(records(one), records(other), strict=True):
        assert left == pytest.approx(right, rel=TOLERANCE, abs=1e-6)
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], rtol=TOLERANCE, atol=TOLERANCE)
    left, right = (read_run(run).confidence for run in (one, other))
    for column in tables.VALUE_MEASURES:
        assert left[column].mean() == pytest.approx(right[column].mean(), rel=TOLERANCE, abs=1e-6)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """The same run trained by one process, and by two with the whole model each or a shard each. Read only."""
    root = tmp_path_factory.mktemp("distributed")
    ddp = trained_by_torchrun(root / "ddp", *MIXED, "parallel=ddp")
    fsdp = trained_by_two(root / "fsdp", *MIXED, "parallel=fsdp")
    return {"ddp": ddp, "fsdp": fsdp, "one": execute(tiny_config(*MIXED, f"run.dir={root / 'one'}"))}


def unfinished(run, copy):
    """A copy of ``run`` that looks as if it had been killed after its checkpoint at step 8."""
    shutil.copytree(run, copy)
    shutil.rmtree(layout.checkpoint_folder(copy, 12))
    shutil.rmtree(copy / layout.PROBES)
    manifest = read_manifest(copy) | {"state": "running"}
    (copy / layout.MANIFEST).write_text(json.dumps(manifest))
    return copy


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_two_processes_follow_the_curve_of_one(runs, how):
    assert_same(runs["one"], runs[how])
    assert {path.name for path in runs[how].rglob("*")} == {path.name for path in runs["one"].rglob("*")}


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_one_process_can_resume_a_run_of_two(runs, tmp_path, how):
    run = unfinished(runs[how], tmp_path / "run")
    assert_same(runs["one"], execute(tiny_config(*MIXED, f"run.dir={run}")))


@pytest.mark.parametrize(("before", "after"), [("one", "ddp"), pytest.param("ddp", "fsdp", marks=pytest.mark.slow)])
def test_two_processes_can_resume_a_run_of_one_or_of_another_parallelism(runs, tmp_path, before, after):
    run = unfinished(runs[before], tmp_path / "run")
    assert_same(runs["one"], trained_by_two(run, *MIXED, f"parallel={after}"))


def test_a_patched_twin_in_shards_follows_the_curve_of_one_process(tmp_path):
    settings = [*MIXED, f"run.root={tmp_path}"]
    execute(tiny_config(*settings))
    settings += ["patching.reference_step=8", "patching.start=4"]
    one = execute(tiny_config(*settings, f"run.dir={tmp_path / 'one'}"))
    assert_same(one, trained_by_two(tmp_path / "two", *settings, "parallel=fsdp"))


def running(tmp_path, *arguments):
    """Start a long run by two processes and wait for two checkpoints. The two process ids are last, the main first."""
    run = tmp_path / "run"
    process = torchrun(*TINY, "training.steps=5000", "checkpoints.interval=20", f"run.dir={run}", *arguments)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints").exists() or len(layout.checkpoint_steps(run)) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranked = {child: Path(f"/proc/{child}/environ").read_bytes().split(b"\0") for child in children}
    return run, process, [int(child) for rank in (0, 1) for child in ranked if b"RANK=%d" % rank in ranked[child]]


@pytest.mark.parametrize(
    "to_all",
    [pytest.param(True, id="to torchrun", marks=pytest.mark.slow), pytest.param(False, id="to one process")],
)
def test_a_signal_stops_all_processes_at_the_same_step_with_the_state_saved(tmp_path, to_all):
    run, process, (_, other) = running(tmp_path)
    os.kill(process.pid if to_all else other, signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    manifest = read_manifest(run)
    assert manifest["state"] == "interrupted", errors
    assert layout.checkpoint_steps(run)[-1] == manifest["last_step"] > 0
    assert len(complaints(errors)) == 1, errors
    assert f"interrupted at step {manifest['last_step']}" in complaints(errors)[0]


@pytest.mark.slow
def test_a_lost_process_ends_the_other_with_one_line(tmp_path):
    run, process, (_, other) = running(tmp_path, "parallel=fsdp")
    os.kill(other, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert current_state(run, read_manifest(run)) in ("failed", "killed", "interrupted")
    assert len(complaints(errors)) == 1, errors
    assert "another process of this run was lost" in complaints(errors)[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(
            ["training.batch_size=6", "training.gradient_accumulation=2"], "2 processes", marks=pytest.mark.slow
        ),
        (["training.learning_rate=1e9", "training.clip_norm=null"], "training diverged"),
    ],
    ids=["indivisible batch", "divergence"],
)
def test_an_error_of_all_processes_is_reported_once(tmp_path, arguments, expected):
    process = torchrun(*TINY, *arguments, f"run.dir={tmp_path}/run")
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert len(complaints(errors)) == 1, errors
    assert expected in complaints(errors)[0]
