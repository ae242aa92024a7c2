"""Parts of a change of weights, against decompositions that do the same the long way."""

import pytest
import torch

from moefacts.models.transformer import build_model
from moefacts.probes import weight_change
from moefacts.probes.weight_change import (
    interpolated,
    parts_of_groups,
    relative_change,
    restored,
    top_direction,
    without_random_direction,
    without_top_direction,
)
from tests.conftest import tiny_config

MIXTURE = [
    "model=moe_laptop", "model.moe.num_experts=4", "model.moe.d_expert=16", "model.moe.num_shared=1", "model.num_layers=2"
]  # fmt: skip


def parts(weights, group, *overrides):
    return parts_of_groups(weights, tiny_config(*overrides).model)[group]


def pair(*overrides):
    """The weights of a model, and others that differ everywhere."""
    model = build_model(tiny_config(*overrides).model, 90, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    return before, {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator) for name, tensor in before.items()
    }


ATTENTION = {"embeddings", "head", "norms", "query_key", "value_output"}


@pytest.mark.parametrize(
    ("overrides", "present"),
    [
        ([], ATTENTION | {"mlp"}),
        (MIXTURE, ATTENTION | {"router", "experts"}),
        (["model.mixer=rg_lru", "model.tied_embeddings=true"], {"embeddings", "norms", "recurrence", "mlp"}),
    ],
)
def test_every_weight_is_in_exactly_one_group(overrides, present):
    before, after = pair(*overrides)
    groups = parts_of_groups(after, tiny_config(*overrides).model)
    assert set(groups) == present
    counted = {name: torch.zeros(tensor.shape) for name, tensor in after.items()}
    for chosen in groups.values():
        for name, rows in chosen:
            counted[name][rows] += 1
    assert all((count == 1).all() for count in counted.values())
    weights = after
    for chosen in groups.values():  # one after the other, all of them lead back
        weights = restored(before, weights, chosen)
    assert all(torch.equal(weights[name], before[name]) for name in before)


def test_restoring_queries_and_keys_leaves_values():
    before, after = pair()
    (name,) = [name for name in after if name.endswith("qkv.weight")]
    third = len(after[name]) // 3
    query_key = restored(before, after, parts(after, "query_key"))
    assert torch.equal(query_key[name][: 2 * third], before[name][: 2 * third])
    assert torch.equal(query_key[name][2 * third :], after[name][2 * third :])
    values = restored(before, after, parts(after, "value_output"))
    assert torch.equal(values[name][2 * third :], before[name][2 * third :])
    out = name.replace("qkv", "out")
    assert torch.equal(values[out], before[out])
    assert torch.equal(query_key[out], after[out])
    assert all(torch.equal(query_key[other], after[other]) for other in after if other != name)


def test_relative_changes_are_norms():
    before, after = pair()
    found = relative_change(before, after, parts(after, "mlp"))
    names = [name for name in after if ".feed_forward." in name]
    expected = torch.cat([(after[name] - before[name]).flatten() for name in names]).norm()
    assert found == pytest.approx(float(expected / torch.cat([before[name].flatten() for name in names]).norm()))


def test_interpolation_ends_at_both_weights():
    before, after = pair()
    assert all(torch.equal(tensor, before[name]) for name, tensor in interpolated(before, after, 0.0).items())
    assert all(torch.equal(tensor, after[name]) for name, tensor in interpolated(before, after, 1.0).items())
    middle = interpolated(before, after, 0.25)
    assert all(torch.allclose(middle[name], 0.75 * before[name] + 0.25 * after[name]) for name in after)


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5)])
def test_the_top_direction_is_that_of_the_singular_value_decomposition(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, sigma, v = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.allclose(top_direction(matrix), sigma[0] * torch.outer(u[:, 0], v[0]))
    assert torch.equal(top_direction(torch.zeros(shape)), torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("overrides", [[], MIXTURE])
def test_the_top_direction_of_every_matrix_is_removed(overrides):
    before, after = pair(*overrides)
    found = without_top_direction(before, after)
    spared = without_top_direction(before, after, in_layers_only=True)
    for name, tensor in after.items():
        change, left = tensor - before[name], found[name] - before[name]
        if tensor.ndim == 1:
            assert torch.equal(found[name], tensor)
            continue
        whole = change.chunk(3) if "qkv" in name else change if change.ndim == 3 else [change]
        kept = left.chunk(3) if "qkv" in name else left if left.ndim == 3 else [left]
        for old, new in zip(whole, kept, strict=True):
            assert torch.linalg.svdvals(new)[:-1] == pytest.approx(torch.linalg.svdvals(old)[1:], abs=1e-5)
        is_embedding = "embedding" in name
        assert torch.equal(spared[name], tensor) == is_embedding
    assert not torch.equal(found["embedding.weight"], after["embedding.weight"])


def test_a_change_of_rank_one_is_gone_without_its_top_direction():
    before, after = pair()
    after = dict(before)
    name = "layers.0.feed_forward.up.weight"
    after[name] = before[name] + torch.outer(torch.arange(64.0), torch.ones(32))
    found = without_top_direction(before, after)
    assert all(torch.allclose(found[one], before[one], atol=1e-5) for one in before)


def test_the_control_removes_as_much_in_another_direction():
    before, after = pair()
    top, control = (
        without_top_direction(before, after),
        without_random_direction(before, after, torch.Generator().manual_seed(0)),
    )
    for name in after:
        if after[name].ndim == 2 and "qkv" not in name:
            removed, controlled = (after[name] - one[name] for one in (top, control))
            assert float(controlled.norm()) == pytest.approx(float(removed.norm()), rel=1e-3)
            assert torch.linalg.matrix_rank(controlled, rtol=1e-3) == 1
            assert abs(float((controlled * removed).sum())) < 0.5 * float(removed.norm() ** 2)
    other = without_random_direction(before, after, torch.Generator().manual_seed(1))
    assert not torch.equal(other[name], control[name])


def test_nothing_changes_the_given_weights():
    before, after = pair()
    copies = [{name: tensor.clone() for name, tensor in weights.items()} for weights in (before, after)]
    restored(before, after, parts(after, "mlp"))
    interpolated(before, after, 0.5)
    weight_change.without_top_direction(before, after)
    for weights, copy in zip((before, after), copies, strict=True):
        assert all(torch.equal(tensor, copy[name]) for name, tensor in weights.items())
