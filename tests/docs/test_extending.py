"""Every example in docs/extending.md runs as printed and has the effect that the page describes."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.config import sections
from moefacts.errors import UserError
from moefacts.experiments.engine.seeds import seeds_for
from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS
from moefacts.experiments.studies import catalog
from moefacts.experiments.tasks.export import choose_architecture
from moefacts.experiments.tasks.materials import prepare
from moefacts.experiments.tasks.train import execute
from moefacts.models import architecture, moe
from moefacts.runs import layout
from moefacts.runs.records import read_metrics
from moefacts.synthetic_data import distribution, distribution_kinds
from moefacts.training import evaluators, methods
from tests.conftest import TINY, tiny_config
from tests.experiments.studies.made_up import made_up_run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES = {title: re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S) for title, text in SECTIONS.items()}
MOST_FILES = 3


@pytest.fixture(autouse=True)
def _undone(monkeypatch):
    """Remove what an example has registered after its test."""
    for module, name in ((catalog, "STUDIES"), (distribution_kinds, "KINDS"), (methods, "METHODS"), (moe, "ROUTES")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    monkeypatch.setattr(distribution, "KINDS", distribution_kinds.KINDS)  # it has them by name
    monkeypatch.setattr(evaluators, "EVALUATIONS", list(evaluators.EVALUATIONS))
    for owner, name in ((architecture, "MOE_KINDS"), (sections, "METHODS")):
        monkeypatch.setattr(owner, name, getattr(owner, name))


def run_example(title):
    """Run the only example of a section; return the names that it defines."""
    (code,) = EXAMPLES[title]
    namespace = {"__name__": f"example of {title}"}
    exec(compile(code, f"docs/extending.md: {title}", "exec"), namespace)
    return namespace


def evaluations(run):
    return [record for record in read_metrics(run / layout.METRICS) if "eval/seen/attribute_loss" in record]


def test_the_table_lists_the_files_of_every_section_and_none_needs_more_than_three():
    rows = re.findall(r"^\| an? \[(.*?)\]\(#.*?\) \| (.*?) \| (\d+) \|$", PAGE, re.MULTILINE)
    assert {title for title, _, _ in rows} == {re.sub("^An? ", "", title) for title in SECTIONS}
    for title, cell, count in rows:
        files = re.findall(r"`(.*?)`", cell)
        (section,) = (text for heading, text in SECTIONS.items() if heading.endswith(title))
        assert re.findall(r"^- `(.*?)`:", section, re.MULTILINE) == files
        assert len(files) == int(count) <= MOST_FILES
        for file in files:
            assert "NAME" in file or (ROOT / file).is_file(), file


def test_every_section_has_one_example_of_a_readable_length():
    for title, codes in EXAMPLES.items():
        assert [10 <= len(code.splitlines()) <= 40 for code in codes] == [True], title


def test_a_study_is_in_the_catalog_and_ends_in_a_verdict(tmp_path):
    run_example("A study")
    tiny = [*TINY, "evaluation.interval=5", "checkpoints.interval=12"]
    arguments = ["reproduce", "weight-decay", "--launcher", "basic", "--out", str(tmp_path / "out"), *tiny]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["complete"] is True
    assert {(run["arm"], run["seed"]) for run in found["runs"]} == {
        (arm, seed) for arm in ("decay 0.1", "no decay") for seed in seeds_for(1024, 3)
    }
    (claim,) = found["claims"]
    assert claim["verdict"] in (HOLDS, DOES_NOT_HOLD, CANNOT_TELL)
    assert claim["rule"].startswith("Difference in final accuracy")


@pytest.mark.parametrize(("saved", "answer"), [(60, HOLDS), (-60, DOES_NOT_HOLD), (0, CANNOT_TELL)])
def test_the_claim_of_the_study_has_three_answers(saved, answer):
    example = run_example("A study")
    runs = []
    for index, grid_run in enumerate(example["STUDY"].grids["laptop"]):
        earlier = saved if grid_run.labels["arm"] == example["WITHOUT"] else 0
        runs.append(made_up_run(grid_run, 400 + 5 * (index % 4) - earlier, last=500))
    assert example["CLAIM"].decide(example["examine"](runs).evidence).answer == answer


SIGMOID = ("model=moe_laptop", "model.moe.kind=sigmoid", "model.moe.d_expert=16")


def test_a_routing_kind_trains_and_weights_experts_by_their_sigmoids(tmp_path):
    with pytest.raises(UserError, match="sigmoid"):
        tiny_config(*SIGMOID)
    run_example("A routing kind")
    run = execute(tiny_config(*SIGMOID, f"run.dir={tmp_path}/run"))
    records = evaluations(run)
    assert records[-1]["eval/seen/attribute_loss"] < records[0]["eval/seen/attribute_loss"]
    assert all("routing/layer_0/max_violation" in record for record in records)

    mixture = tiny_config(*SIGMOID, "model.moe.renormalize=false").model.moe
    torch.manual_seed(0)
    router, x_ND = moe.Router(12, mixture), 9 * torch.randn(40, 12)
    routing = router(x_ND)
    for n, logits in enumerate(routing.logits_NE.tolist()):
        sigmoids = [1 / (1 + np.exp(-logit)) for logit in logits]
        best = sorted(range(len(logits)), key=lambda e, logits=logits: -logits[e])[:2]
        chosen = routing.token_A == n
        assert routing.expert_A[chosen].tolist() == best
        expected = [sigmoids[e] / sum(sigmoids) for e in best]
        assert routing.weight_A[chosen].tolist() == pytest.approx(expected, rel=1e-5)
    router.config = replace(mixture, kind="top_k")
    top_k = router(x_ND)
    assert torch.equal(top_k.expert_NK, routing.expert_NK)
    assert (top_k.gates_NE.amax(dim=1) > routing.gates_NE.amax(dim=1)).float().mean() > 0.9


def test_the_example_leaves_other_routing_kinds_as_they_were():
    x_ND = torch.randn(40, 12)

    def routed(kind):
        torch.manual_seed(0)
        router = moe.Router(12, replace(tiny_config("model=moe_laptop").model.moe, kind=kind))
        return vars(router(x_ND))

    before = {kind: routed(kind) for kind in ("top_k", "expert_choice")}
    run_example("A routing kind")
    for kind, expected in before.items():
        after = routed(kind)
        assert all(value is None or torch.equal(value, after[name]) for name, value in expected.items())


def test_a_new_routing_kind_is_not_exported_as_if_it_were_another():
    run_example("A routing kind")
    model = prepare(tiny_config(*SIGMOID, "model.activation=swiglu", "model.moe.balance.bias_rate=0")).model
    with pytest.raises(UserError, match="none is known to route as model.moe.kind=sigmoid does"):
        choose_architecture(model)


STEADY = ("sampling.kind=steady", "sampling.initial_individuals=8")


def test_a_curriculum_shows_whom_it_says(tmp_path, monkeypatch):
    run_example("A curriculum")
    config = tiny_config(*STEADY, "training.steps=20", "training.batch_size=64", f"run.dir={tmp_path}/run")
    dist = distribution.Distribution(config.sampling, 48, 20)
    sizes = [len(dist.support(step, 64, None)) for step in range(20)]
    assert sizes == [8 + 4 * step for step in range(10)] + [48] * 10
    shown = {}
    training_batch = type(prepare(config).batcher).training_batch

    def spy(self, step, *arguments):
        batch = training_batch(self, step, *arguments)
        shown[step] = set(batch.individual_B.tolist())
        return batch

    monkeypatch.setattr("moefacts.synthetic_data.batches.Batcher.training_batch", spy)
    records = evaluations(execute(config))
    assert set(shown) == set(range(20))
    assert all(max(people) < size for people, size in zip(shown.values(), sizes, strict=True))
    assert max(shown[19]) >= 40
    assert "eval/seen/bucket/inside/attribute_loss" in records[-1]


def test_a_curriculum_that_reads_the_setting_of_another_leaves_that_other_as_it_was():
    run_example("A curriculum")
    assert tiny_config("sampling.kind=adaptive", "sampling.initial_individuals=8").sampling.initial_individuals == 8
    with pytest.raises(UserError, match=r"sampling.kind=steady needs sampling.initial_individuals"):
        tiny_config("sampling.kind=steady")
    with pytest.raises(UserError, match=r"initial_individuals=49 is too large for the 48 people"):
        tiny_config("sampling.kind=steady", "sampling.initial_individuals=49")
    with pytest.raises(UserError, match=r"growth=2.0 has no effect with sampling.kind=steady"):
        tiny_config(*STEADY, "sampling.growth=2")


def test_a_metric_is_in_the_record_of_every_evaluation_and_costs_no_measurement(tmp_path, monkeypatch):
    from moefacts.training.evaluation import Evaluator

    run_example("An evaluation metric")
    measured, measure = [], Evaluator.measure_with_loads
    monkeypatch.setattr(
        Evaluator, "measure_with_loads", lambda self, *a: measured.append(self.cohort) or measure(self, *a)
    )
    config = tiny_config(f"run.dir={tmp_path}/run", "evaluation.cohorts=[seen]")
    run = execute(config)
    records = evaluations(run)
    assert len(records) == 4
    assert len(measured) == len(records) + 1  # and once for the table of confidences at the end
    assert all(-1 < record["eval/seen/overconfidence"] < 1 for record in records)

    materials = prepare(config)
    evaluator = Evaluator(materials.batcher, "seen", 32, 256)
    found = evaluator.measure(materials.model)
    gap = float(found.value_confidence.mean() - found.attribute_accuracy.mean())
    assert records[0]["eval/seen/overconfidence"] == pytest.approx(gap, abs=1e-5)


def test_a_method_freezes_what_it_says_bit_for_bit(tmp_path):
    run_example("A fine-tuning method")
    settings = ("training.method=feed_forward_only", "training.weight_decay=10", "model.num_layers=2")
    run = execute(tiny_config(*settings, f"run.dir={tmp_path}/run"))
    steps = layout.checkpoint_steps(run)
    first, last = (
        load_file(layout.checkpoint_folder(run, step) / "model.safetensors") for step in (steps[0], steps[-1])
    )
    assert (steps[0], steps[-1]) == (0, 12)
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert moved == {name for name in first if ".feed_forward." in name}
    assert len(moved) == 4
