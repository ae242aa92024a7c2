"""A run's identity says what it computes. Settings that are off, and where and how fast it runs, are not part of it."""

import dataclasses

import pytest

from moefacts.config import schema
from moefacts.config.fields import config_keys, section_of
from moefacts.config.identity import NOT_IDENTITY, digest, identity
from moefacts.config.loader import config_yaml, read_config
from moefacts.config.presets import compose
from moefacts.config.schema import RunConfig
from moefacts.runs.location import run_name
from tests.conftest import tiny_config


@pytest.mark.parametrize(
    "override",
    ["device=cpu", "threads=2", "parallel=fsdp", "run.study=other", "wandb.mode=offline", "dataset.train=7"],
)
def test_where_and_how_fast_it_runs_does_not_count(override):
    assert digest(tiny_config(override)) == digest(tiny_config())


@pytest.mark.parametrize(
    "override",
    ["seed=1", "population.unseen=33", "sampling.shuffle_sentences=false", "training.stop_after_plateau=5",
     "evaluation.interval_early=8", "evaluation.interval_control=8", "evaluation.cohorts=[seen]", "patching.reference_step=4", "tokenizer=sentencepiece_32k",
     "population.cohorts={few:{stop:4}}", "model.mixer=rg_lru"],
)  # fmt: skip
def test_what_changes_the_result_does(override):
    assert digest(tiny_config(override)) != digest(tiny_config())


def test_no_setting_at_its_neutral_value_is_in_the_identity():
    found = identity(compose([]))
    assert "patching" not in found
    assert "sampling" not in found
    assert not {"interval_unseen", "interval_control"} & found["evaluation"].keys()
    assert "moe" not in found["model"]


def test_a_setting_that_a_later_version_adds_changes_no_identity_while_it_is_off(monkeypatch):
    @dataclasses.dataclass
    class Later(RunConfig):
        dropout: float = 0.0

    config = tiny_config()
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    assert digest(Later(**values)) == digest(config)
    assert digest(Later(**values, dropout=0.1)) != digest(config)


def test_a_run_with_cohorts_that_was_stored_before_they_had_halves_keeps_its_identity_and_name(tmp_path):
    """Golden: the digest is that of the version before."""
    config = tiny_config(
        "population.cohorts={rare:{part_of:seen,start:40},first:{part_of:unseen,stop:10}}",
        "sampling.cohort=rare",
        "run.study=cohorts",
    )
    text = config_yaml(config)
    stored = tmp_path / "config.yaml"
    stored.write_text(text.replace("      values: all\n", ""))
    assert stored.read_text() != text
    assert read_config(stored) == config
    assert run_name(read_config(stored)) == "dense_laptop-n48-seed0-c73367ec"
    other = "population.cohorts={rare:{part_of:seen,start:40,values:first},first:{part_of:unseen,stop:10}}"
    assert digest(tiny_config(other, "sampling.cohort=rare")) != digest(config)


def test_only_settings_that_existed_when_formats_began_lack_a_neutral_value():
    """A new setting needs a default, because otherwise every existing run would be refused."""

    def required(section, prefix=""):
        for field in dataclasses.fields(section):
            part = section_of(field)
            has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            if part is not None:
                yield from required(part, f"{prefix}{field.name}.")
            elif not has_default:
                yield prefix + field.name

    assert set(required(RunConfig)) == set(REQUIRED.split())


def test_every_key_that_is_left_out_exists():
    keys = set(config_keys(schema.RunConfig))
    assert set(NOT_IDENTITY) <= keys | {key.partition(".")[0] for key in keys}


REQUIRED = """
scale seed device threads tokenizer population.size population.unseen population.new population.held_out_templates
population.pools.first_names population.pools.middle_names population.pools.last_names population.pools.cities
population.pools.universities population.pools.majors population.pools.companies population.pools.years
model.preset model.num_layers model.d_model model.num_heads model.d_head model.d_hidden model.activation
model.tied_embeddings model.rope_theta model.norm_epsilon model.moe.kind model.moe.num_experts
model.moe.experts_per_token model.moe.d_expert model.moe.renormalize model.moe.layers
training.steps training.batch_size training.learning_rate training.final_learning_rate training.schedule
training.weight_decay training.beta1 training.beta2 training.clip_norm training.precision training.log_interval
evaluation.biographies evaluation.interval evaluation.interval_after_plateau evaluation.plateau_threshold
evaluation.batch_size checkpoints.interval checkpoints.interval_until checkpoints.num_uniform
checkpoints.keep_optimizer dataset.train dataset.validation dataset.unseen dataset.rows_per_group
wandb.mode wandb.project wandb.entity run.root run.study run.name run.dir
"""
