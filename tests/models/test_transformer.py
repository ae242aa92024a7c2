import math

import pytest
import torch
import torch.nn.functional as F

from moefacts.config.preset_files import preset_names
from moefacts.config.presets import compose
from moefacts.models import architecture
from moefacts.models import layer as layers
from moefacts.models.architecture import ModelConfig, parameter_counts
from moefacts.models.attention import CausalSelfAttention
from moefacts.models.feed_forward import FeedForward
from moefacts.models.packing import Packing
from moefacts.models.rotary import Angles, rotary_angles, rotate
from moefacts.models.transformer import ATTENTION, HIDDEN_STATES, build_model, count_parameters

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


def test_nothing_is_kept_that_was_not_asked_for(model):
    output = model(tokens())
    assert output.attention == {}
    assert output.hidden_states == []
    assert output.hidden.shape == (3, 11, 32)
    assert output.logits.shape == (3, 11, VOCAB)


LENGTHS = [7, 11, 1]


@pytest.mark.parametrize("is_packed", [False, True])
def test_attention_and_hidden_states_are_returned_when_asked_for(model, is_packed):
    packing = Packing(LENGTHS, 11, torch.device("cpu")) if is_packed else None
    kept, plain = model(tokens(), packing, keep={ATTENTION, HIDDEN_STATES}), model(tokens(), packing)
    assert torch.equal(kept.hidden, plain.hidden)
    assert list(kept.attention) == [0, 1]
    for weight in kept.attention.values():
        assert weight.shape == (3, model.layers[0].mixer.num_heads, 11, 11)
        assert weight.dtype == torch.float32
        assert torch.allclose(weight[1].sum(dim=2), torch.ones(()))
    assert not torch.equal(*kept.attention.values())
    assert len(kept.hidden_states) == 3
    assert torch.equal(model.final_norm(kept.hidden_states[-1]), kept.hidden)
    real = tokens() if packing is None else tokens().flatten()[packing.real_N]
    assert torch.equal(kept.hidden_states[0], model.embedding(real))


@pytest.mark.parametrize("is_packed", [False, True])
def test_attention_and_hidden_states_are_those_of_the_asked_positions(model, is_packed):
    packing = Packing(LENGTHS, 11, torch.device("cpu")) if is_packed else None
    place_BQ = torch.tensor([[6, 2], [0, 10], [0, 0]])
    at_BQ = place_BQ + 11 * torch.arange(3)[:, None]
    everywhere, asked = (model(tokens(), packing, at, keep={ATTENTION, HIDDEN_STATES}) for at in (None, at_BQ))
    rows = at_BQ if packing is None else packing.find(at_BQ)
    assert torch.equal(asked.hidden, everywhere.hidden.reshape(-1, 32)[rows])
    for some, all_of_them in zip(asked.hidden_states, everywhere.hidden_states, strict=True):
        assert torch.equal(some, all_of_them.reshape(-1, 32)[rows])
    for number, weight in asked.attention.items():
        expected = everywhere.attention[number].take_along_dim(place_BQ[:, None, :, None], dim=2)
        assert torch.allclose(weight, expected, atol=1e-6)


def test_a_mixer_without_attention_returns_none():
    recurrent = build_model(small_config(mixer="rg_lru"), VOCAB, seed=0)
    assert recurrent(tokens(), keep={ATTENTION}).attention == {}


def test_every_mixer_has_a_module_and_a_number_of_parameters():
    assert layers.MIXERS.keys() == architecture.MIXERS.keys()


def test_a_model_with_given_attention_mixes_by_it(model):
    patterns = list(model(tokens(seed=1), keep={ATTENTION}).attention.values())
    output = model(tokens(), patterns=patterns, keep={ATTENTION})
    assert not torch.allclose(output.hidden, model(tokens()).hidden, atol=1e-3)
    for pattern, weight in zip(patterns, output.attention.values(), strict=True):
        assert torch.equal(pattern, weight)


@pytest.mark.parametrize("path", ["packed", "padded"])
def test_leaving_padding_out_changes_neither_values_nor_gradients(model, path, monkeypatch):
    monkeypatch.setattr("moefacts.models.packing.ROWS_PER_BUCKET", 2)
    if path == "padded":  # the path of CUDA and compiled models
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    packing = Packing(LENGTHS, 11, torch.device("cpu"))
    real = torch.cat([torch.arange(length) + 11 * row for row, length in enumerate(LENGTHS)])
    assert torch.equal(packing.real_N, real)
    token_BT = tokens()
    everywhere = model(token_BT).logits.flatten(0, 1)
    weight = torch.randn(len(real), VOCAB, generator=torch.Generator().manual_seed(1))
    gradients = []
    for logits in (everywhere[real], model(token_BT, packing).logits):
        assert torch.allclose(logits, everywhere[real], atol=1e-5)
        gradients.append(torch.autograd.grad((logits * weight).sum(), list(model.parameters()), retain_graph=True))
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-4) for one, other in zip(*gradients, strict=True))


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


def at(angles, position):
    return Angles(angles.cos_TK[position], angles.sin_TK[position])


def test_attention_equals_a_loop_over_heads_and_positions():
    torch.manual_seed(0)
    attention, x = CausalSelfAttention(16, 2, 6), torch.randn(2, 5, 16)
    angles = rotary_angles(5, 6, 10000.0, torch.device("cpu"))
    q, k, v = attention.qkv(x).view(2, 5, 3, 2, 6).unbind(2)
    mixed = torch.zeros(2, 5, 2, 6)
    for b in range(2):
        for h in range(2):
            for t in range(5):
                query = rotate(q[b, t, h], at(angles, t))
                scores = torch.stack([query @ rotate(k[b, s, h], at(angles, s)) for s in range(t + 1)])
                mixed[b, t, h] = (scores / math.sqrt(6)).softmax(0) @ v[b, : t + 1, h]
    assert torch.allclose(attention(x, angles)[0], attention.out(mixed.flatten(2)), atol=1e-6)


def test_rotary_scores_depend_on_distance_alone():
    angles = rotary_angles(20, 8, 10000.0, torch.device("cpu"))
    q, k = torch.randn(8), torch.randn(8)
    scores = [rotate(q, at(angles, t)) @ rotate(k, at(angles, t - 3)) for t in range(3, 20)]
    assert torch.allclose(torch.stack(scores), scores[0].expand(17), atol=1e-5)


def test_gated_feed_forward_is_silu_of_gate_times_up():
    torch.manual_seed(0)
    block, x = FeedForward(8, 12, "swiglu"), torch.randn(4, 8)
    gate, up = x @ block.gate.weight.T, x @ block.up.weight.T
    assert torch.allclose(block(x)[0], (gate * gate.sigmoid() * up) @ block.down.weight.T, atol=1e-6)


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
        q, k, v = layer.mixer.qkv.weight.chunk(3)
        weights |= {f"{place}.self_attn.{n}_proj.weight": w for n, w in zip("qkv", (q, k, v), strict=True)}
        weights[f"{place}.self_attn.o_proj.weight"] = layer.mixer.out.weight
        weights |= {
            f"{place}.mlp.{n}_proj.weight": getattr(layer.feed_forward, n).weight for n in ("gate", "up", "down")
        }
        weights[f"{place}.input_layernorm.weight"] = layer.mixer_norm.weight
        weights[f"{place}.post_attention_layernorm.weight"] = layer.feed_forward_norm.weight
    theirs.load_state_dict(weights)
    assert torch.allclose(ours(tokens()).logits, theirs(tokens()).logits, atol=1e-5)


def test_gradients_reach_every_parameter(model):
    F.cross_entropy(model(tokens()).logits.flatten(0, 1), tokens(seed=1).flatten()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
