"""Asking for some positions changes no number: all mixers and routers see all tokens first."""

import pytest
import torch

from moefacts.models.packing import Packing
from moefacts.models.transformer import build_model
from tests.models.test_moe import KINDS, moe_config
from tests.models.test_transformer import small_config

VOCAB, WIDTH, LENGTHS = 30, 9, [9, 4, 7, 1]
LAYERS = {
    "dense": {},
    "dense swiglu": {"activation": "swiglu"},
    "recurrent": {"mixer": "rg_lru"},
    "recurrent mixture": {"mixer": "rg_lru", "moe": moe_config(capacity_factor=0.6)},
    **{kind: {"moe": moe_config(**changes)} for kind, changes in KINDS.items()},
    "capacity and noise": {"moe": moe_config(kind="keep_top_k", noise=True, capacity_factor=0.5)},
}
AT = {
    "some of each": [0, 8, 9, 12, 24, 27],
    "of one, in any order, one twice": [24, 18, 24, 20],
    "one": [3],
    "none": [],
}


@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("is_packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
@pytest.mark.parametrize("kind", LAYERS)
def test_asked_positions_have_the_same_numbers_as_when_all_are_computed(kind, training, is_packed, at):
    model = build_model(small_config(**LAYERS[kind]), VOCAB, seed=0).train(training)
    token_BT = torch.randint(VOCAB, (4, WIDTH), generator=torch.Generator().manual_seed(0))
    packing = Packing(LENGTHS, WIDTH, token_BT.device) if is_packed else None
    at_N = torch.tensor(AT[at], dtype=torch.int64)
    torch.manual_seed(5)
    everywhere = model(token_BT, packing)
    torch.manual_seed(5)
    asked = model(token_BT, packing, at_N)
    rows = at_N if packing is None else packing.find(at_N)
    torch.testing.assert_close(asked.hidden, everywhere.hidden.reshape(-1, 32)[rows])
    assert torch.allclose(asked.logits, everywhere.logits.reshape(-1, VOCAB)[rows], atol=1e-6)
    for number, routing in everywhere.routings.items():
        assert torch.equal(asked.routings[number].expert_A, routing.expert_A)
        assert torch.equal(asked.routings[number].kept_A, routing.kept_A)
