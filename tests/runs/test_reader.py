from pathlib import Path

import pytest

from moefacts.runs.reader import Run
from tests.conftest import tiny_config


@pytest.mark.parametrize(
    ("losses", "final"),
    [(range(60), 58.0), (range(39), 38.0), ([7.0], 7.0)],  # the last three of 60, the last one of 39, the only one
)
def test_the_final_training_loss_is_the_mean_of_the_last_twentieth(losses, final):
    records = [{"step": 5 * step, "train/loss": float(loss)} for step, loss in enumerate(losses)]
    evaluations = [{"step": 0, "eval/seen/attribute_loss": 100.0}]
    assert Run(Path("nowhere"), tiny_config(), {}, evaluations + records).final_training_loss == final
