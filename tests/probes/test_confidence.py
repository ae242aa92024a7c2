"""The confidence table holds what the run's last evaluation recorded, value by value."""

import pytest

from moefacts.experiments.tasks.train import execute
from moefacts.runs import keys, layout
from moefacts.runs.reader import read_run
from moefacts.runs.records import read_metrics
from moefacts.runs.tables import CONFIDENCE
from moefacts.synthetic_data.pools import ATTRIBUTES
from tests.conftest import tiny_config

MOE = ["model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16", "training.learning_rate=0.01"]
MODELS = {
    "dense": [],
    "recurrent": ["model.mixer=rg_lru"],
    "noisy KeepTopK": [*MOE, "model.moe.kind=keep_top_k", "model.moe.noise=true", "model.moe.balance.load=0.1"],
    "limited capacity": [*MOE, "model.moe.capacity_factor=1.0"],
    "noisy KeepTopK of limited capacity": [
        *MOE, "model.moe.kind=keep_top_k", "model.moe.noise=true", "model.moe.capacity_factor=1.0"
    ],
    "experts that choose": [*MOE, "model.moe.kind=expert_choice"],
}  # fmt: skip


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_its_means_are_the_last_evaluation_in_the_record(tmp_path, settings):
    run = execute(tiny_config(*settings, f"run.dir={tmp_path}/run", "evaluation.batch_size=12"))
    table, last = read_run(run).confidence, read_metrics(run / layout.METRICS)[-1]
    assert tuple(table.columns) == tuple(CONFIDENCE.columns)
    assert set(table["step"]) == {last["step"]} == {12}
    for cohort in ("seen", "unseen"):
        rows = table[table["cohort"] == cohort]
        assert len(rows) == 32 * len(ATTRIBUTES)
        by_attribute = rows.groupby("attribute")[list(keys.EVALUATED)].mean()
        for name in keys.EVALUATED:
            assert rows[name].astype(float).mean() == pytest.approx(last[keys.evaluation_key(cohort, name)], rel=1e-6)
            for attribute in ATTRIBUTES:
                recorded = last[keys.evaluation_key(cohort, name, attribute)]
                assert by_attribute.loc[attribute, name] == pytest.approx(recorded, rel=1e-5)
