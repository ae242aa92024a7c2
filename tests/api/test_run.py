"""What ``moefacts.load_run`` and ``list_runs`` return is what the commands print of the same run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import moefacts
from moefacts.analysis.summary import measure_run
from moefacts.cli import app as cli
from moefacts.experiments.tasks.train import execute
from moefacts.runs import layout
from moefacts.runs.reader import read_run
from moefacts.runs.records import read_metrics
from tests.conftest import tiny_config


@pytest.fixture(scope="module")
def run(trained_once):
    return moefacts.load_run(trained_once)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "mixture"
    settings = ("model=moe_laptop", "model.num_layers=2", "model.moe.d_expert=16", "training.steps=4")
    return moefacts.load_run(execute(tiny_config(*settings, f"run.dir={path}")))


def test_the_import_brings_neither_torch_nor_pandas():
    code = "import sys, moefacts; assert not {'torch', 'pandas', 'numpy'} & set(sys.modules), 'heavy'"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_every_name_of_the_interface_is_there_and_no_other():
    assert {"load_run", "list_runs", "load_study"} <= set(dir(moefacts))
    assert all(getattr(moefacts, name) is not None for name in dir(moefacts))
    with pytest.raises(AttributeError, match="load_runs"):
        _ = moefacts.load_runs


def test_metrics_have_every_record_once(run):
    records = read_metrics(run.path / layout.METRICS)
    assert run.metrics.index.is_unique
    assert sorted(run.metrics.index) == sorted({record["step"] for record in records})
    for record in records:
        for key in record.keys() - {"step"}:
            assert run.metrics.loc[record["step"], key] == record[key]


def test_measures_are_those_of_analyze(run):
    printed = CliRunner().invoke(cli.app, ["analyze", str(run.path), "--json", "--no-report"])
    found = json.loads(printed.stdout)["runs"][0]
    assert run.measures["final_attribute_loss"] == found["final_attribute_loss"]
    assert run.measures.keys() == found.keys()


def test_the_model_is_the_trained_one_in_evaluation_mode_on_the_cpu(run):
    first = moefacts.load_run(run.path, step=0)
    assert not run.model.training
    assert {parameter.device.type for parameter in run.model.parameters()} == {"cpu"}
    assert not torch.equal(run.model.embedding.weight, first.model.embedding.weight)
    assert run.model is run.model


def test_answers_are_those_of_ask(run):
    name = run.names("seen", limit=1)[0]
    printed = CliRunner().invoke(cli.app, ["ask", str(run.path), name, "--json"])
    (reply,) = json.loads(printed.stdout)
    answers = run.ask(name)
    assert [answer.attribute for answer in answers] == list(reply["answers"])
    for answer in answers:
        assert [list(pair) for pair in answer.answers] == reply["answers"][answer.attribute]["answers"]
        assert answer.truth == run.population.facts(run.population.find(name))[answer.attribute]


def test_names_are_those_that_people_prints(run):
    printed = CliRunner().invoke(cli.app, ["people", str(run.path), "--cohort", "unseen", "--limit", "3"]).stdout
    assert printed.splitlines() == run.names("unseen", limit=3)
    assert len(run.names("unseen")) == 32
    assert not set(run.names("seen")) & set(run.names("unseen"))


def test_people_of_every_cohort_are_listed_ten_of_each(run):
    printed = CliRunner().invoke(cli.app, ["people", str(run.path)]).stdout
    assert "seen: 48 people, the first 10 of them" in printed
    assert "new: 8 people\n" in printed
    assert len(printed.splitlines()) == 3 + 10 + 10 + 8


@pytest.mark.parametrize("held_out", [False, True])
def test_biographies_state_the_facts_in_the_templates_that_were_asked_for(run, held_out):
    population, names = run.population, run.names("seen", limit=4)
    for name, text in zip(names, run.biographies(names, held_out=held_out), strict=True):
        individual = population.find(name)
        sentences = [f"{sentence}." for sentence in text.removesuffix(".").split(". ")]
        assert len(sentences) == 6
        for index, (attribute, value) in enumerate(population.facts(individual).items()):
            ways = population.splits.held_out_SH[population.split_PA[individual, index]]
            stated = [
                w for w, t in enumerate(population.templates[attribute]) if t.fill(name, value).strip() in sentences
            ]
            assert len(stated) == 1
            assert (stated[0] in ways) is held_out


def test_biographies_are_of_the_first_people_of_a_cohort(run):
    assert run.biographies(cohort="new", count=2) == run.biographies(run.names("new", limit=2))


def test_activations_are_what_the_model_computes(run):
    (text,) = run.biographies(count=1)
    (inside,) = run.activations([text])
    length, config = len(inside.tokens), run.config.model
    assert inside.residual_LTD.shape == (config.num_layers + 1, length, config.d_model)
    assert inside.attention_LHTT.shape == (config.num_layers, config.num_heads, length, length)
    assert inside.attention_LHTT.sum(axis=-1) == pytest.approx(np.ones(inside.attention_LHTT.shape[:-1]), abs=1e-5)
    assert not np.triu(inside.attention_LHTT, 1).any()
    assert inside.gates_TE == inside.experts_TK == {}
    ids = [run.tokenizer.begin_id, *run.tokenizer.encode([f" {text}"])[0]]
    assert inside.tokens == run.tokenizer.tokens(ids)
    with torch.no_grad():
        logits = run.model(torch.tensor([ids])).logits[0]
        said = run.model.unembed(run.model.final_norm(torch.from_numpy(inside.residual_LTD[-1])))
    assert said.numpy() == pytest.approx(logits.numpy(), abs=1e-4)


def test_activations_of_a_mixture_have_gates_and_experts_of_every_token(mixture):
    (inside,) = mixture.activations(mixture.names(limit=1))
    assert sorted(inside.gates_TE) == sorted(inside.experts_TK) == [1, 2]  # as pages number layers
    for layer, gates_TE in inside.gates_TE.items():
        assert gates_TE.shape == (len(inside.tokens), 8)
        assert gates_TE.sum(axis=1) == pytest.approx(np.ones(len(gates_TE)), abs=1e-5)
        assert inside.experts_TK[layer].tolist() == np.argsort(-gates_TE, kind="stable")[:, :2].tolist()


def test_a_sample_is_the_likeliest_text_and_that_of_the_command(run):
    name = run.names(limit=1)[0]
    (inside,) = run.activations([name])
    with torch.no_grad():
        logits_V = run.model.unembed(run.model.final_norm(torch.from_numpy(inside.residual_LTD[-1, -1])))
    likeliest = run.tokenizer.decode([int(logits_V.argmax())])
    assert run.sample(name, most_tokens=1) == likeliest
    printed = CliRunner().invoke(cli.app, ["sample", str(run.path), name, "--tokens", "6"])
    assert printed.stdout == name + run.sample(name, most_tokens=6) + "\n"
    drawn = {run.sample(name, most_tokens=6, temperature=2.0, seed=seed) for seed in range(4)}
    assert len(drawn) > 1
    assert run.sample(name, temperature=2.0, seed=3) == run.sample(name, temperature=2.0, seed=3)


def test_figures_are_drawn_by_name(run):
    assert {"attribute_loss", "loss_by_attribute"} <= run.figures.keys()
    axes = run.figure("attribute_loss").axes[0]
    assert axes.get_ylabel() == "attribute loss (nats)"


def test_runs_are_listed_with_their_state(trained_once):
    (listed,) = moefacts.list_runs(trained_once.parent).to_dict("records")
    expected = {"path": str(trained_once), "state": "finished", "step": 12, "steps": 12, "people": 48, "seed": 0}
    measured = measure_run(read_run(trained_once))
    assert listed.pop("plateau_end") is None
    assert listed.pop("unseen_loss") == pytest.approx(measured["unseen_final_loss_over_baseline"])
    assert listed.pop("accuracy") == measured["final_attribute_accuracy"]
    assert listed == expected | {"model": "dense_laptop", "note": "", "differs": ""}


def test_settings_that_are_no_runs_are_not_listed_and_damaged_runs_are(trained_once, tmp_path):
    run = shutil.copytree(trained_once, tmp_path / "damaged")
    (run / layout.MANIFEST).unlink()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / layout.CONFIG).write_text("seed: 0\n")
    listed = moefacts.list_runs(tmp_path)
    assert listed[["path", "state"]].to_numpy().tolist() == [[str(run), "damaged"]]
    assert moefacts.list_runs(Path(moefacts.__file__).parent / "conf").empty


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda run: moefacts.load_run(run.path / "nothing"), "there is no run directory"),
        (lambda run: moefacts.load_run(run.path, step=5).model, "has no checkpoint of step 5"),
        (lambda run: moefacts.list_runs(run.path / "nothing"), "there is no folder"),
        (lambda run: run.names("nobody"), "cohort=nobody is not a valid value"),
        (lambda run: run.ask("Nobody"), "'Nobody' is not a full name"),
        (lambda run: run.biographies(["Nobody At All"]), "nobody in .* has the name 'Nobody At All'"),
        (lambda run: run.activations("text"), "takes a list of texts"),
        (lambda run: run.activations(["qwertz"]), "'qwertz' is a word that is not in this run's vocabulary"),
        (lambda run: run.figure("attribute_los"), "did you mean attribute_loss"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, what, message):
    with pytest.raises(moefacts.UserError, match=message) as raised:
        what(run)
    assert "\n" not in str(raised.value)


def test_the_mechanism_is_measured_at_any_checkpoint_and_nothing_is_written(run):
    there = layout.checkpoint_steps(run.path)
    before = sorted(run.path.rglob("*"))
    table = run.mechanism(steps=[there[1], there[0]])
    assert table.index.names == ["step", "cohort", "values", "layer"]
    assert table.index.get_level_values("step").tolist() == there[:2]
    assert table.notna().all(axis=None)
    assert table["mlp_ablated_before_the_value"].abs().gt(1e-6).all()
    unseen = run.mechanism(steps=there[:1], cohort="unseen")
    assert unseen.index.tolist() == [(there[0], "unseen", "own", 1)]
    assert sorted(run.path.rglob("*")) == before
    with pytest.raises(moefacts.UserError, match=r"has no checkpoint of step 3; there are \["):
        run.mechanism(steps=[3])
    with pytest.raises(moefacts.UserError, match="nobody"):
        run.mechanism(steps=there[:1], cohort="nobody")


def test_the_mechanism_is_that_of_analyze(finished_run):
    from moefacts.experiments.tasks.probe import moments_of, probe_run

    assert moefacts.load_run(finished_run).measures["mechanism"] is None
    probe_run(read_run(finished_run), "mechanism")
    found = moefacts.load_run(finished_run)
    rows = found.measures["mechanism"]
    last = moments_of(found.record)[-1]
    assert [(row["step"], row["cohort"], row["values"], row["layer"]) for row in rows] == [
        (last, "seen", "own", 1), (last, "seen", "permuted", 1), (last, "unseen", "own", 1),
    ]  # fmt: skip
    measured = found.mechanism().loc[(last, "seen", "own", 1)]
    assert {key: rows[0][key] for key in measured.index} == pytest.approx(measured.to_dict(), abs=1e-6)
    own = found.record.mechanism
    at = (own["measure"] == "knock-out") & (own["variant"] == "only") & (own["place"] == "value from name")
    at &= (own["step"] == last) & (own["cohort"] == "unseen")
    assert rows[2]["value_from_name_cut"] == pytest.approx(own[at]["value"].mean())
