"""The names of runs that were started by hand say what differs from the presets."""

import pytest

from moefacts.config.presets import compose
from moefacts.runs.location import run_directory, run_name


def said(*overrides):
    """What a name has between the seed and the digest."""
    first, _, rest = run_name(compose(overrides)).partition("-seed0-")
    assert first.startswith(("dense_laptop-n", "moe_laptop-n"))
    return rest.rpartition("-")[0]


@pytest.mark.parametrize(
    ("overrides", "answer"),
    [
        ((), ""),
        (("population.size=64", "model=moe_laptop", "threads=2", "checkpoints.interval=7", "wandb.mode=offline"), ""),
        (("evaluation.interval=10", "training.learning_rate=1e-4"), "learning_rate_0.0001-interval_10"),
        (("sampling.kind=power_law", "sampling.exponent=0.8"), "kind_power_law-exponent_0.8"),
        (("training.clip_norm=null", "training.compile=true"), "clip_norm_None-compile_True"),
        (("model=moe_laptop", "model.moe.num_experts=4"), "num_experts_4"),
        (("evaluation.cohorts=[seen]", "training.steps=9", "training.batch_size=4", "training.beta1=0", "seed=0"),
         "steps_9-batch_size_4-beta1_0.0-and_1_more"),
        (("population.cohorts={rare:{stop:5}}", "sampling.cohort=rare"), "cohort_rare"),
        (("scale=workstation", "model=dense_laptop", "training.steps=9"), "steps_9"),
    ],
)  # fmt: skip
def test_a_name_says_which_settings_are_unusual(overrides, answer):
    assert said(*overrides) == answer


def test_only_where_runs_of_all_kinds_come_together():
    assert said("run.study=phases", "training.steps=9") == ""
    config = compose(["training.steps=9"])
    config.model.preset = "of_my_own"
    assert run_name(config).startswith("of_my_own-n1500-seed0-")
    assert "steps" not in run_name(config)


def test_a_run_under_a_former_name_is_found(tmp_path):
    from moefacts.config.identity import digest
    from moefacts.config.loader import config_yaml

    config = compose(["training.steps=9", f"run.root={tmp_path}"])
    former = tmp_path / "train" / f"dense_laptop-n1500-seed0-{digest(config)}"
    assert run_directory(config) == former.with_name(run_name(config))
    former.mkdir(parents=True)
    (former / "config.yaml").write_text(config_yaml(config))
    assert run_directory(config) == former
