"""An exported folder works the ordinary way: plain prompts, pipelines, batches, and what the model card shows."""

import json
import re

import pytest
import torch

from moefacts.config.presets import compose
from moefacts.experiments.tasks.export import _tokenizer_files
from moefacts.experiments.tasks.materials import load_run
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import training_plan
from moefacts.synthetic_data.tokenizer import TOKENIZERS, build_tokenizer
from moefacts.training.checkpoint import load_state

transformers = pytest.importorskip("transformers")


@pytest.fixture
def questions(knowing):
    """A prompt in words from training for every fact of the four people, and the value that follows."""
    _, materials = load_run(knowing[0])
    population, asked = materials.batcher.population, []
    for person in range(4):
        for index, attribute in enumerate(ATTRIBUTES):
            trained = population.splits.trained_SJ[population.split_PA[person, index], 0]
            template = population.templates[attribute][trained]
            prompt = f"{template.prefix} {population.full_name(person)}{template.middle}".strip()
            asked.append((prompt, population.facts(person)[attribute]))
    return asked


@pytest.fixture
def loaded(knowing, silent):
    """The tokenizer and the model, loaded as anybody loads them."""
    folder = knowing[1]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder), model


@pytest.mark.parametrize("typed", ["{}", " {}", "{} ", "<bos> {}", "<bos>{}"])
def test_a_pipeline_continues_plain_text_with_the_right_value(typed, knowing, questions, silent):
    generate = transformers.pipeline("text-generation", str(knowing[1]))
    wrong = 0
    for prompt, value in questions:
        text = generate(typed.format(prompt), max_new_tokens=6)[0]["generated_text"]
        wrong += not text.startswith(f"{typed.format(prompt)} {value}")
    assert wrong <= 1  # the model knows 99% or more of what it was shown


def test_a_pipeline_does_not_sample(knowing, loaded, questions, silent):
    """It answered a question that the model has hardly learned once so and once so."""
    generate = transformers.pipeline("text-generation", str(knowing[1]))
    tokenizer, model = loaded
    for prompt, _ in questions[::5]:
        greedy = model.generate(**tokenizer(prompt, return_tensors="pt"), do_sample=False, max_new_tokens=20)
        told = {generate(prompt, max_new_tokens=20)[0]["generated_text"] for _ in range(4)}
        assert told == {tokenizer.decode(greedy[0], skip_special_tokens=True).strip()}


def test_without_a_limit_a_biography_is_written_to_its_end(loaded, questions):
    tokenizer, model = loaded
    ids = model.generate(**tokenizer(questions[0][0], return_tensors="pt"))[0]
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[:-1]).count(".") == len(ATTRIBUTES)


def test_a_padded_batch_is_continued_as_its_prompts_are_one_by_one(loaded, questions):
    tokenizer, model = loaded
    prompts = [prompt for prompt, _ in questions] + ["The", ""]
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    assert (batch.input_ids[:, -1] != tokenizer.pad_token_id).all()
    assert set(batch) == {"input_ids", "attention_mask"}
    together = model.generate(**batch, max_new_tokens=12)[:, batch.input_ids.shape[1] :]
    for prompt, ids in zip(prompts, together, strict=True):
        one = tokenizer(prompt, return_tensors="pt")
        alone = model.generate(**one, max_new_tokens=12)[0, one.input_ids.shape[1] :]
        assert torch.equal(ids[: len(alone)], alone), prompt
        assert (ids[len(alone) :] == tokenizer.pad_token_id).all()


def test_special_tokens_are_named_alike_everywhere(loaded):
    tokenizer, model = loaded
    assert tokenizer.padding_side == "left"
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<bos>", "<eos>", "<pad>")
    assert tokenizer.unk_token == "<unk>"
    for role in ("bos", "eos", "pad"):
        number = getattr(tokenizer, f"{role}_token_id")
        assert (
            getattr(model.config, f"{role}_token_id") == getattr(model.generation_config, f"{role}_token_id") == number
        )
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.model_max_length == model.config.max_position_embeddings


def test_an_unknown_word_is_an_unknown_token(loaded, questions):
    tokenizer, model = loaded
    batch = tokenizer("Zaphod Beeblebrox works for", return_tensors="pt")
    words = tokenizer.convert_ids_to_tokens(batch.input_ids[0])
    assert words == ["<bos>", "<unk>", "<unk>", " works", " for"]
    assert model.generate(**batch, max_new_tokens=2).shape == (1, 7)
    assert tokenizer("").input_ids == [tokenizer.bos_token_id]
    assert tokenizer("works for", add_special_tokens=False).input_ids == batch.input_ids[0, 3:].tolist()


def test_special_tokens_that_are_typed_count_once(loaded, questions):
    tokenizer, _ = loaded
    prompt = questions[0][0]
    (ids, typed, bare, empty) = tokenizer([prompt, f"<bos> {prompt}", "<bos>", ""]).input_ids
    assert typed == ids
    assert bare == empty == [tokenizer.bos_token_id]
    assert tokenizer(f"{prompt}<eos>").input_ids == [*ids, tokenizer.eos_token_id]
    assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == f" {prompt}"


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_loaded_tokenizer_gives_the_ids_of_training_however_a_biography_is_typed(name, tmp_path, silent):
    population = build_population(compose(["population.size=64"]).population, seed=0)
    tokenizer = build_tokenizer(name, population.pools, population.templates)
    numbers = {"bos_token_id": tokenizer.begin_id, "eos_token_id": tokenizer.end_id, "pad_token_id": 0}
    for file, content in _tokenizer_files(tokenizer, numbers | {"max_position_embeddings": 1000}).items():
        (tmp_path / file).write_text(json.dumps(content), encoding="utf-8")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    batcher = Batcher(population, tokenizer, torch.device("cpu"))
    plan = training_plan(population, 0, 50)
    batch = batcher.assemble(plan)
    for text, row, length in zip(batcher.catalog.texts_of(plan), batch.token_BT.tolist(), batch.length_B, strict=True):
        ids = row[: length - 1]  # the end token is the last
        for before in ("", " ", loaded.bos_token, f"{loaded.bos_token} ", f" {loaded.bos_token}"):
            assert loaded(before + text).input_ids == ids
        assert loaded.decode(ids, skip_special_tokens=True) == f" {text}"


def card_of(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_snippet_of_the_card_runs_and_gives_the_value_that_the_card_names(knowing, silent, capsys):
    card = card_of(knowing[1])
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    assert snippet.count("path/to/this/folder") == 1
    exec(snippet.replace("path/to/this/folder", str(knowing[1])), {})
    value = re.search(r"The value in the population is (.*?)\.", card)[1]
    prompt = re.search(r'model\("(.*?)"', card)[1]
    assert capsys.readouterr().out == f"{prompt} {value}\n"


def test_the_card_has_metadata_that_the_hub_reads(knowing):
    from huggingface_hub import ModelCard

    data = ModelCard(card_of(knowing[1]), ignore_metadata_errors=False).data
    assert (data.license, data.language, data.library_name) == ("apache-2.0", ["en"], "transformers")
    assert data.pipeline_tag == "text-generation"
    is_mixture = load_run(knowing[0])[0].model.moe is not None
    assert ("mixture-of-experts" in data.tags) == is_mixture


def test_the_card_counts_the_parameters_of_the_model_and_the_steps_that_it_took(knowing, loaded):
    settings, materials = load_run(knowing[0])
    card = card_of(knowing[1])
    total = sum(parameter.numel() for parameter in materials.model.parameters())
    assert f"| parameters | {total:,}" in card
    step = load_state(knowing[0], max(int(f.name[5:]) for f in (knowing[0] / "checkpoints").iterdir())).step
    assert f"| steps of training | {step:,} of {settings.training.steps:,}, 16 biographies each |" in card
    if settings.model.moe is None:  # a mixture gets a shared expert in the export
        assert sum(parameter.numel() for parameter in loaded[1].parameters()) == total
