"""An answer depends on the model and on the person, and on nothing else."""

import json

import pytest
import torch
from typer.testing import CliRunner

from moefacts.cli import app as cli
from moefacts.experiments.tasks.materials import load_run, prepare
from moefacts.experiments.tasks.train import execute
from moefacts.probes.ask import ask
from moefacts.training.evaluation import Evaluator
from moefacts.training.next_token import next_token_logits
from tests.conftest import tiny_config

MOE = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16"]
NOISY = [*MOE, "model.moe.kind=keep_top_k", "model.moe.noise=true", "model.moe.balance.load=0.1"]
MODELS = {
    "dense": [],
    "recurrent": ["model.mixer=rg_lru"],
    "top_k": MOE,
    "switch": [*MOE, "model.moe.kind=switch", "model.moe.experts_per_token=1", "model.moe.renormalize=false"],
    "soft": [*MOE, "model.moe.kind=soft"],
    "shared expert": [*MOE, "model.moe.num_shared=1"],
    "noisy KeepTopK": NOISY,
}
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}  # of floating point: matrix products of other shapes sum in another order


@pytest.fixture(scope="module")
def noisy_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    return execute(tiny_config(*NOISY, f"run.dir={path}", "training.learning_rate=0.01"))


def confident(*settings):
    """The parts of a run, with a model whose answers differ from person to person although it is untrained."""
    materials = prepare(tiny_config("model.num_layers=2", *settings))
    with torch.no_grad():
        materials.model.embedding.weight.mul_(3)
    return materials


def answers(materials, name):
    return [vars(answer) for answer in ask(materials.model, materials.batcher, name, top=5)]


def test_asking_a_noisy_mixture_twice_gives_the_same_answer(noisy_run):
    _, materials = load_run(noisy_run)
    name = materials.batcher.population.full_name(3)
    first = answers(materials, name)
    assert answers(materials, name) == first
    materials.model.train()  # as the loop leaves it
    assert answers(materials, name) == first


def test_the_order_of_the_questions_changes_no_answer(noisy_run):
    population = load_run(noisy_run)[1].batcher.population
    names = [population.full_name(individual) for individual in (3, 40, 60, 7)]

    def replies(*asked):
        result = CliRunner().invoke(cli.app, ["ask", str(noisy_run), *asked, "--json"])
        assert result.exit_code == 0, result.output
        return {reply["name"]: reply for reply in json.loads(result.stdout)}

    together = replies(*names)
    assert replies(*reversed(names)) == together
    assert {name: replies(name)[name] for name in names} == together


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_a_prompt_gets_the_same_answer_alone_and_among_others(settings):
    materials = confident(*settings)
    model, tokenizer, population = materials.model.eval(), materials.batcher.tokenizer, materials.batcher.population
    prompts = []
    for individual in range(20):
        template = population.templates["major"][individual % 5]
        name = " " + population.full_name(individual)
        (ids,) = tokenizer.encode([template.prefix + name + template.middle])
        prompts.append([tokenizer.begin_id, *ids])
    assert len({len(prompt) for prompt in prompts}) > 1

    @torch.no_grad()
    def logits(asked):
        return next_token_logits(lambda *arguments: model(*arguments).logits, asked, materials.device)

    together = logits(prompts)
    assert together.std(dim=0).max() > 0.1  # answers do depend on the person
    torch.testing.assert_close(torch.cat([logits([prompt]) for prompt in prompts]), together, **TOLERANCE)
    torch.testing.assert_close(logits(prompts[::-1]).flip(0), together, **TOLERANCE)


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_what_the_model_knows_of_a_person_is_the_same_alone_and_among_others(settings):
    materials = confident(*settings)
    model = materials.model.eval()
    together, alone = (Evaluator(materials.batcher, "seen", 24, size).measure(model) for size in (24, 1))
    assert together.attribute_loss.std(axis=0).max() > 0.1
    for name, column in vars(together).items():
        if name != "attribute_accuracy":  # which a last bit can flip
            torch.testing.assert_close(torch.from_numpy(vars(alone)[name]), torch.from_numpy(column), **TOLERANCE)


def test_what_the_model_was_taught_to_say_instead_can_be_an_answer():
    strangers = ("population.strangers=8", "uncertainty.strangers=unknown", "uncertainty.stranger_share=0.5")
    materials = confident(*strangers, "uncertainty.idk_factor=0.5")
    batcher, name = materials.batcher, materials.batcher.population.full_name(3)
    major = list(ask(materials.model, batcher, name, top=50))[4]
    assert {value for value, _ in major.answers} == {*batcher.population.pools.majors, "unknown", "[IDK]"}
    idk = batcher.tokenizer.encode([" [IDK]"])[0][0]
    with torch.no_grad():
        materials.model.unembedding_VD[idk] += 100 * materials.model.final_norm.weight.sign()
    assert major.truth == batcher.population.facts(3)["major"]
    sure = [answer.answers[0] for answer in ask(materials.model, batcher, name, top=1)]
    assert all(value in {"[IDK]"} or probability < 1 for value, probability in sure)
