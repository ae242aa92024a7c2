"""What fine-tuning changes in the settings of the run that it starts from."""

from functools import cache
from importlib import resources
from typing import Any

import yaml

from moefacts.config.preset_files import CONFIG_MODULE

RATE_OVER = 4e-4 / 3e-5  # the study's peak learning rate over that of its fine-tuning (section 5)


@cache
def finetuning_defaults() -> dict[str, Any]:
    """Dotted key -> value of ``conf/finetune.yaml``. The learning rate is the other run's over ``RATE_OVER``."""
    values = yaml.safe_load(resources.files(CONFIG_MODULE).joinpath("finetune.yaml").read_text())
    return {f"{section}.{key}": value for section, part in values.items() for key, value in part.items()}
