"""The model card of an exported run: what it is, how to prompt it, who it knows, its numbers, and how to cite it."""

import json
import shlex
from pathlib import Path

from moefacts import __version__
from moefacts.config.identity import NOT_IDENTITY, is_of
from moefacts.config.presets import overrides_of
from moefacts.config.schema import RunConfig
from moefacts.models.architecture import parameter_counts
from moefacts.runs import keys, layout
from moefacts.runs.records import intact_records
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.cohorts import COHORTS
from moefacts.synthetic_data.pools import ATTRIBUTES

_ASKED = "company"
_CARD = """---
license: apache-2.0
language:
- en
library_name: transformers
pipeline_tag: text-generation
tags:
- moefacts
- synthetic
- factual-knowledge{more_tags}
---

# {num_seen:,} fictional people in a {kind} language model

A small language model that moefacts {version} trained from scratch on synthetic biographies, to study how language
models learn facts. It knows nothing else: every person is fictional, and what is said about people is random. Names
of places, universities and companies are real.

## How to prompt it

Give the beginning of a sentence about a person, up to the value. The tokenizer puts the begin token before it, whether
you type it or not. A space at either end makes no difference, and prompts of different lengths are padded on the left.
Without `max_new_tokens`, the model goes on to the end of a biography.

```python
from transformers import pipeline

model = pipeline("text-generation", model="path/to/this/folder")
print(model({prompt}, max_new_tokens={num_tokens})[0]["generated_text"])
```

The value in the population is {truth}.{vocabulary}

## Numbers

| | |
|---|---|
| parameters | {parameters} |
| steps of training | {step:,} of {steps:,}, {batch_size:,} biographies each |
{results}
| no-knowledge baseline: a guess among all values | {baseline:.4f} nats |

A value is known when every one of its tokens is the likeliest after the true ones before it. The sentences of the
evaluation are templates that training did not use for that person and attribute.

## Population

| | |
|---|---|
| people: seen / unseen / new | {cohorts} |
| seed | {seed} |
| fingerprint | `{fingerprint}` |
| shown in training | `{distribution}` |

{commands}

## How to cite

```bibtex
@software{{moefacts,
  title = {{moefacts: how dense and mixture-of-experts language models learn facts, measured}},
  author = {{{{The moefacts developers}}}},
  version = {{{version}}},
}}

@article{{zucchet2025facts,
  title = {{How do language models learn facts? Dynamics, curricula and hallucinations}},
  author = {{Zucchet, Nicolas and Bornschein, Jörg and Chan, Stephanie and Lampinen, Andrew and Pascanu, Razvan
            and De, Soham}},
  year = {{2025}},
  url = {{https://arxiv.org/abs/2503.21676}},
}}
```
"""


def model_card(run: Path, step: int, config: RunConfig, batcher: Batcher) -> str:
    """The text of the card of the model that ``run`` had at ``step``."""
    population, moe = batcher.population, config.model.moe
    counts = parameter_counts(config.model, batcher.tokenizer.vocab_size)
    active = "" if moe is None else f", of which {counts.active:,} take part in each token"
    prompt, truth = _example(batcher)
    return _CARD.format(
        more_tags="" if moe is None else "\n- mixture-of-experts",
        kind="dense" if moe is None else "mixture-of-experts",
        num_seen=sum(len(population.cohort(cohort)) for cohort in batcher.cohorts),
        version=__version__,
        prompt=json.dumps(prompt, ensure_ascii=False),
        num_tokens=len(batcher.tokenizer.encode([f" {truth}"])[0]),
        truth=truth,
        vocabulary=_VOCABULARY if config.tokenizer == "word" else "",
        parameters=f"{counts.total:,}{active}",
        step=step,
        steps=config.training.steps,
        batch_size=config.training.batch_size,
        results="\n".join(_results(run, step, config)),
        baseline=population.no_knowledge_baseline,
        cohorts=" / ".join(f"{len(population.cohort(cohort)):,}" for cohort in COHORTS),
        seed=config.seed,
        fingerprint=population.fingerprint,
        distribution=config.sampling.describe(),
        commands=_commands(config, step if step < layout.checkpoint_steps(run)[-1] else None),
    )


_VOCABULARY = " The vocabulary holds the words of the biographies only; any other word becomes `<unk>`."


def _example(batcher: Batcher) -> tuple[str, str]:
    """A prompt about somebody from training, in words from training, and the value that follows."""
    population = batcher.population
    person = population.cohort(batcher.cohort).start
    split = population.split_PA[person, ATTRIBUTES.index(_ASKED)]
    template = population.templates[_ASKED][population.splits.trained_SJ[split, 0]]
    text = f"{template.prefix} {population.full_name(person)}{template.middle}"
    return text.strip(), population.facts(person)[_ASKED]


def _results(run: Path, step: int, config: RunConfig) -> list[str]:
    """The last evaluation up to ``step``, as rows of a table. Records that are damaged, or missing, are left out."""
    records, _ = intact_records(run / layout.METRICS)  # the last line of a run in training may be half-written
    rows = []
    for cohort in config.evaluation.cohorts:
        needed = [keys.evaluation_key(cohort, name) for name in (keys.ATTRIBUTE_ACCURACY, keys.ATTRIBUTE_LOSS)]
        found = [record for record in records if record[keys.STEP] <= step and record.keys() >= set(needed)]
        if found:
            accuracy, loss = (found[-1][key] for key in needed)
            measured = f"{accuracy:.1%} of values known, loss on values {loss:.4f} nats"
            rows.append(f"| `{cohort}` people, at step {found[-1][keys.STEP]:,} | {measured} |")
        else:
            rows.append(f"| `{cohort}` people | not measured |")
    return rows


def _commands(config: RunConfig, earlier_step: int | None) -> str:
    """How to make the model, and its people, again; where and how fast that was done is left out.

    Args:
        config: the run's settings.
        earlier_step: the checkpoint, unless it is the last one.
    """
    overrides = overrides_of(config)
    if overrides is None:
        return "The run was made with presets of its user's own, so there is no command that makes it again."
    key = {text: text.partition("=")[0] for text in overrides}
    train = [text for text in overrides if key[text] == "scale" or not is_of(key[text], NOT_IDENTITY)]
    train += ["init.run=FOLDER_OF_THE_RUN_THAT_IT_STARTS_FROM"] * config.init.is_on
    people = [text for text in overrides if is_of(key[text], ("scale", "seed", "population"))]
    again = shlex.join(["moefacts", "train", *train])
    written = shlex.join(["moefacts", "generate", *people, "--out", "people"])
    intro = "To train the model again, and to write its people with their biographies:"
    if earlier_step is not None:
        again += f"\nmoefacts export FOLDER_OF_THE_RUN --step {earlier_step} --out model"
        intro = (
            f"These are the weights after step {earlier_step:,}, before the end of training. To train the model again, "
            "export it at that step, and write its people with their biographies:"
        )
    return f"{intro}\n\n```sh\n{again}\n{written}\n```"
