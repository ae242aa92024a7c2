"""What the two toy memories are trained on. Where the protocols are silent, comments say what was chosen, and how."""

from typing import Any

SEEDS = range(10)
KEY_VALUE, SHARED_DIRECTION = "key_value", "shared_direction"

# The study's, arXiv 2503.21676, Figures Q and R. Chosen: which of its numbers of new pairs (32 to 1,024) and replay
# weights (1/512 to 2) are tried, AdamW's other settings (those of torch), and that fine-tuning keeps the weight decay.
NEW_PAIRS = (32, 128, 1024)
REPLAY_WEIGHTS = {"1/512": 1 / 512, "1/32": 1 / 32, "2": 2.0}
REPLAY_OF = 128  # new pairs


def new_pairs(number: int) -> str:
    """The arm with so many new pairs and no replay."""
    return f"{number:,} new pairs"


def replay(weight: str) -> str:
    """The arm with this replay weight."""
    return f"{new_pairs(REPLAY_OF)}, replay {weight}"


KEY_VALUE_SETTINGS: dict[str, Any] = {
    "num_pairs": 8192,
    "num_classes": 30,
    "d_key": 64,
    "num_units": 256,
    "batch_size": 128,
    "pretraining_steps": 16_000,
    "learning_rate": 0.03,
    "weight_decay": 0.01,
    "fine_tuning_steps": 4000,
    "fine_tuning_rate": 0.001,
    "arms": {new_pairs(number): {"num_new": number, "replay_weight": 0.0} for number in NEW_PAIRS}
    | {replay(name): {"num_new": REPLAY_OF, "replay_weight": weight} for name, weight in REPLAY_WEIGHTS.items()},
}

# Palit et al. 2026. Chosen: 2,000 steps of pretraining, 1,200 of fine-tuning (as in their language models), and the
# learning rate of both. Of 0.01, 0.03, 0.1 and 0.3 it is the smallest with which all three kinds of memory recall
# everything after 1,000 steps of pretraining. This was tried with one seed that the study does not use, without any
# fine-tuning (LOG.md). The replayed facts are of A, and each is drawn as often as a new one.
ALL = "all ingredients"
NO_DIRECTION, BOTH_HALVES, NO_NORM = "no shared direction", "new values from both halves", "no normalisation"
REPLAY_16 = "all ingredients, replay of 16"
_ALL = {"shared_direction": 0.5, "is_normalised": True, "both_halves": False, "num_replayed": 0}
SHARED_DIRECTION_SETTINGS: dict[str, Any] = {
    "num_facts": 128,
    "num_values": 32,
    "d_key": 128,
    "num_replayable": 16,
    "batch_size": 32,
    "pretraining_steps": 2000,
    "learning_rate": 0.03,
    "fine_tuning_steps": 1200,
    "arms": {
        ALL: _ALL,
        REPLAY_16: _ALL | {"num_replayed": 16},
        BOTH_HALVES: _ALL | {"both_halves": True},
        NO_DIRECTION: _ALL | {"shared_direction": 0.0},
        NO_NORM: _ALL | {"is_normalised": False},
    },
}
