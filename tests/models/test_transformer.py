import math

import pytest
import torch
import torch.nn.functional as F

from moefacts.config.presets import compose, preset_names
from moefacts.models import attention
from moefacts.models.architecture import ModelConfig, parameter_counts
from moefacts.models.attention import CausalSelfAttention
from moefacts.models.feed_forward import FeedForward
from moefacts.models.packing import Packing
from moefacts.models.rotary import rotary_angles, rotate
from moefacts.models.transformer import build_model, count_parameters, token_losses

VOCAB = 50


def small_config(**changes) -> ModelConfig:
    values = {
        "preset": "test", "num_layers": 2, "d_model": 32, "num_heads": 4, "d_head": 8, "d_hidden": 64,
        "activation": "gelu", "tied_embeddings": True, "rope_theta": 10000.0, "mixer": "attention", "norm_epsilon": 1e-6, "moe": None,
    }  # fmt: skip
    return ModelConfig(**(values | changes))


KINDS = [{}, {"activation": "swiglu"}, {"activation": "relu"}, {"tied_embeddings": False}, {"d_head": 6}]


@pytest.fixture(params=KINDS, ids=str)
def model(request):
    return build_model(small_config(**request.param), VOCAB, seed=0)


def tokens(batch=3, length=11, seed=0):
    return torch.randint(VOCAB, (batch, length), generator=torch.Generator().manual_seed(seed))


def test_a_change_at_position_t_leaves_earlier_logits_alone_and_changes_later_ones(model):
    original, changed = tokens(), tokens()
    changed[:, 6] = (changed[:, 6] + 1) % VOCAB
    before, after = model(original).logits, model(changed).logits
    assert torch.equal(before[:, :6], after[:, :6])
    assert (before[:, 6:] != after[:, 6:]).any(dim=2).all()


def test_logits_at_chosen_positions_equal_those_of_the_full_forward_pass(model):
    at = torch.tensor([0, 5, 12, 32])
    everywhere = model(tokens()).logits
    assert torch.allclose(model(tokens(), at).logits, everywhere.flatten(0, 1)[at], atol=1e-5)


LENGTHS = [7, 11, 1]


@pytest.mark.parametrize(("path", "copies"), [("packed", 1), ("padded", 1), ("packed", 6), ("padded", 6)])
def test_leaving_padding_out_changes_neither_values_nor_gradients(model, path, copies, monkeypatch):
    monkeypatch.setattr("moefacts.models.packing.ROWS_PER_BUCKET", 2)
    if path == "padded":  # what CUDA and compiled models take
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    lengths = LENGTHS * copies
    packing = Packing(lengths, 11, torch.device("cpu"))
    real = torch.cat([torch.arange(length) + 11 * row for row, length in enumerate(lengths)])
    assert torch.equal(packing.real_N, real)
    token_BT = tokens(len(lengths))
    everywhere = model(token_BT).logits.flatten(0, 1)
    normed_rows = []
    model.layers[0].attention_norm.register_forward_hook(lambda _, given, __: normed_rows.append(len(given[0])))
    weight = torch.randn(len(real), VOCAB, generator=torch.Generator().manual_seed(1))
    gradients = []
    for logits in (everywhere[real], model(token_BT, packing=packing).logits):
        assert torch.allclose(logits, everywhere[real], atol=1e-5)
        gradients.append(torch.autograd.grad((logits * weight).sum(), list(model.parameters()), retain_graph=True))
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-4) for one, other in zip(*gradients, strict=True))
    at = real[[0, 6, 9, 18]]
    assert torch.allclose(model(token_BT, at, packing).logits, everywhere[at], atol=1e-5)
    enough = path == "packed" and copies == 6  # tokens for the first layer to look up queries, keys and values by word
    assert normed_rows == 2 * [VOCAB if enough else len(real)]


@pytest.mark.parametrize(
    "chosen",
    [[0, 6, 9, 18], [18, 3, 17, 0, 3, 8], [8, 9, 10], [0], list(range(19)), []],
    ids=["some of each", "in any order, one twice", "of one sequence", "one", "all", "none"],
)
def test_attention_without_gradients_looks_only_from_chosen_tokens(model, chosen, monkeypatch):
    monkeypatch.setattr("moefacts.models.packing.ROWS_PER_BUCKET", 2)
    packing = Packing(LENGTHS, 11, torch.device("cpu"))
    at = packing.real_N[torch.tensor(chosen, dtype=torch.int64)]
    expected = model(tokens()).logits.flatten(0, 1)[at]
    called = []
    attend = attention.chosen_attention
    monkeypatch.setattr(attention, "chosen_attention", lambda *given: called.append(1) or attend(*given))
    with torch.no_grad():
        assert torch.allclose(model(tokens(), at, packing).logits, expected, atol=1e-5)
    assert called == [1]  # the last layer


def test_packing_pads_and_unpads_and_finds_positions():
    packing = Packing(LENGTHS, 11, torch.device("cpu"))
    x = torch.randn(sum(LENGTHS), 4)
    padded = packing.pad(x)
    assert padded.shape == (3, 11, 4)
    assert padded[0, 7:].abs().sum() == padded[2, 1:].abs().sum() == 0
    assert torch.equal(packing.unpad(padded), x)
    assert torch.equal(packing.find(packing.real_N), torch.arange(sum(LENGTHS)))


def test_padding_on_the_right_changes_nothing_before_it(model):
    padded = torch.cat([tokens(), torch.zeros(3, 4, dtype=torch.int64)], dim=1)
    assert torch.allclose(model(padded).logits[:, :11], model(tokens()).logits, atol=1e-6)


@pytest.mark.parametrize(
    ("preset", "vocab", "total", "non_embedding"),
    [
        ("dense_44m", 32000, 41_558_528, 25_174_528),
        ("dense_163m", 32000, 144_299_904, 115_627_904),
        ("dense_400m", 32000, 388_929_024, 339_777_024),
    ],
)
def test_presets_have_the_sizes_of_the_study(preset, vocab, total, non_embedding):
    counts = parameter_counts(compose([f"model={preset}"]).model, vocab)
    assert (counts.total, counts.non_embedding, counts.active) == (total, non_embedding, total)


def test_every_preset_names_itself():
    assert all(compose([f"model={name}"]).model.preset == name for name in preset_names("model"))


def test_computed_parameter_counts_are_those_of_the_model(model):
    assert count_parameters(model) == parameter_counts(model.config, VOCAB)


def test_every_weight_starts_with_the_stated_standard_deviation():
    config = small_config(d_model=128, d_head=32, d_hidden=512, tied_embeddings=False)
    for name, parameter in build_model(config, 400, seed=1).named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all()
            continue
        expected = 1 / math.sqrt(parameter.shape[1])
        if "out" in name or "down" in name:
            expected /= math.sqrt(2 * config.num_layers)
        assert parameter.std().item() == pytest.approx(expected, rel=0.03), name


def test_initialisation_is_a_function_of_the_seed():
    first, again, other = (build_model(small_config(), VOCAB, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_tied_embeddings_share_and_untied_ones_do_not():
    assert build_model(small_config(), VOCAB, 0).unembedding is None
    untied = build_model(small_config(tied_embeddings=False), VOCAB, 0)
    assert not torch.equal(untied.unembedding.weight, untied.embedding.weight)


def test_attention_equals_a_loop_over_heads_and_positions():
    torch.manual_seed(0)
    attention, x = CausalSelfAttention(16, 2, 6), torch.randn(2, 5, 16)
    cos, sin = rotary_angles(5, 6, 10000.0, torch.device("cpu"))
    q, k, v = attention.qkv(x).view(2, 5, 3, 2, 6).unbind(2)
    mixed = torch.zeros(2, 5, 2, 6)
    for b in range(2):
        for h in range(2):
            for t in range(5):
                query = rotate(q[b, t, h], cos[t], sin[t])
                scores = torch.stack([query @ rotate(k[b, s, h], cos[s], sin[s]) for s in range(t + 1)])
                mixed[b, t, h] = (scores / math.sqrt(6)).softmax(0) @ v[b, : t + 1, h]
    assert torch.allclose(attention(x, cos, sin), attention.out(mixed.flatten(2)), atol=1e-6)


def test_rotary_scores_depend_on_distance_alone():
    cos, sin = rotary_angles(20, 8, 10000.0, torch.device("cpu"))
    q, k = torch.randn(8), torch.randn(8)
    scores = [rotate(q, cos[t], sin[t]) @ rotate(k, cos[t - 3], sin[t - 3]) for t in range(3, 20)]
    assert torch.allclose(torch.stack(scores), scores[0].expand(17), atol=1e-5)


def test_gated_feed_forward_is_silu_of_gate_times_up():
    torch.manual_seed(0)
    block, x = FeedForward(8, 12, "swiglu"), torch.randn(4, 8)
    gate, up = x @ block.gate.weight.T, x @ block.up.weight.T
    assert torch.allclose(block(x), (gate * gate.sigmoid() * up) @ block.down.weight.T, atol=1e-6)


def test_token_losses_are_unreduced_cross_entropies():
    logits, targets = torch.randn(3, 4, 7), torch.randint(7, (3, 4))
    expected = -logits.log_softmax(-1).gather(2, targets[..., None]).squeeze(2)
    assert torch.allclose(token_losses(logits, targets), expected, atol=1e-6)


def test_logits_equal_those_of_the_transformers_library_on_the_same_weights():
    transformers = pytest.importorskip("transformers")
    config = small_config(activation="swiglu", tied_embeddings=False)
    ours = build_model(config, VOCAB, seed=0)
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, head_dim=8, rms_norm_eps=1e-6, tie_word_embeddings=False,
        )
    )  # fmt: skip
    weights = {"model.embed_tokens.weight": ours.embedding.weight, "lm_head.weight": ours.unembedding.weight}
    weights["model.norm.weight"] = ours.final_norm.weight
    for i, layer in enumerate(ours.layers):
        place = f"model.layers.{i}"
        q, k, v = layer.attention.qkv.weight.chunk(3)
        weights |= {f"{place}.self_attn.{n}_proj.weight": w for n, w in zip("qkv", (q, k, v), strict=True)}
        weights[f"{place}.self_attn.o_proj.weight"] = layer.attention.out.weight
        weights |= {
            f"{place}.mlp.{n}_proj.weight": getattr(layer.feed_forward, n).weight for n in ("gate", "up", "down")
        }
        weights[f"{place}.input_layernorm.weight"] = layer.attention_norm.weight
        weights[f"{place}.post_attention_layernorm.weight"] = layer.feed_forward_norm.weight
    theirs.load_state_dict(weights)
    assert torch.allclose(ours(tokens()).logits, theirs(tokens()).logits, atol=1e-5)


def test_gradients_reach_every_parameter(model):
    F.cross_entropy(model(tokens()).logits.flatten(0, 1), tokens(seed=1).flatten()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
