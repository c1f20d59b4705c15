"""The temporal transformer: an identity when fresh, and attention over frames of one clip at one pixel and
nothing else.
"""

import math

import pytest
import torch
from choreographer.core.motion.transformer import TemporalTransformer, frame_attention, position_table
from torch.utils.checkpoint import checkpoint

FRAMES, CHANNELS = 4, 32


@pytest.fixture
def module(random_weights):
    return random_weights(TemporalTransformer(CHANNELS, heads=4, max_frames=8))


def clips(count=2, size=(3, 5), seed=0):
    return torch.randn(count * FRAMES, CHANNELS, *size, generator=torch.Generator().manual_seed(seed))


def close(a, b, tolerance=1e-5):
    return (a - b).abs().max() <= tolerance * b.abs().max()


def test_a_fresh_module_changes_nothing():
    x = clips()
    assert torch.equal(TemporalTransformer(CHANNELS, heads=4)(x, FRAMES), x)


def test_attention_equals_its_definition():
    qkv = torch.randn(6, FRAMES, 3 * CHANNELS)
    query, key, value = (part.view(6, FRAMES, 4, 8).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
    weights = (1.3 * query @ key.transpose(-1, -2) / math.sqrt(8)).softmax(dim=-1)
    expected = (weights @ value).transpose(1, 2).reshape(6, FRAMES, CHANNELS)
    assert close(frame_attention(qkv, heads=4, scale=1.3), expected)


def test_positions_are_the_published_table():
    table = position_table(24, 320)
    assert table.shape == (24, 320) and torch.equal(table[0, ::2], torch.zeros(160))
    for position, channel in ((1, 0), (7, 10), (23, 318)):
        angle = position / 10000 ** (channel / 320)
        assert math.isclose(table[position, channel], math.sin(angle), abs_tol=1e-5)
        assert math.isclose(table[position, channel + 1], math.cos(angle), abs_tol=1e-5)
    assert torch.equal(position_table(32, 320)[:24], table)


def test_clips_never_mix(module):
    x = clips(3)
    together, alone = module(x, FRAMES), module(x[FRAMES : 2 * FRAMES], FRAMES)
    assert close(together[FRAMES : 2 * FRAMES], alone)


def test_pixels_mix_only_through_the_group_norm(module):
    module.norm = torch.nn.Identity()
    x = clips(1)
    moved = module(x.roll(1, dims=-1), FRAMES).roll(-1, dims=-1)
    assert close(moved, module(x, FRAMES))
    changed = x.clone()
    changed[..., 2, 4] += 1.0
    difference = (module(changed, FRAMES) - module(x, FRAMES)).abs().amax(dim=(0, 1))
    assert difference[2, 4] > 0.1
    difference[2, 4] = 0
    assert difference.max() < 1e-5


def test_every_frame_sees_every_other_and_their_order(module):
    x = clips(1)
    changed = x.clone()
    changed[3] += torch.randn_like(x[3])
    assert ((module(changed, FRAMES) - module(x, FRAMES))[:3].abs().amax(dim=(1, 2, 3)) > 1e-3).all()
    order = [1, 0, 2, 3]
    assert not close(module(x[order], FRAMES), module(x, FRAMES)[order], 1e-3)
    module.positions.zero_()
    assert close(module(x[order], FRAMES), module(x, FRAMES)[order])


def test_thinned_clips_keep_the_places_of_their_frames(module):
    x = clips(1)
    assert torch.equal(module(x, FRAMES, places=torch.arange(FRAMES)), module(x, FRAMES))
    places = torch.tensor([0, 2, 5, 7])
    thinned = module(x, FRAMES, places=places)
    module.positions[:FRAMES] = module.positions[places].clone()
    assert torch.equal(thinned, module(x, FRAMES)) and not close(thinned, x, 1e-3)


def test_passes_of_a_few_tokens_give_what_one_pass_gives(module, monkeypatch):
    x = clips(2, size=(8, 8))
    whole = module(x, FRAMES)
    monkeypatch.setattr("choreographer.core.motion.transformer.CPU_TOKENS", 3 * FRAMES)
    assert close(module(x, FRAMES), whole, 1e-6)


def test_only_the_cpu_has_passes_of_a_few_tokens_and_parts_are_even(module):
    sizes = []
    module.proj_in.register_forward_pre_hook(lambda _m, inputs: sizes.append(len(inputs[0])))
    module.to("meta")(torch.empty(FRAMES, CHANNELS, 128, 129, device="meta"), FRAMES)
    assert sizes == [128 * 129 // 2] * 2, "65535 sequences and heads a part"


def test_effect_multiplies_what_is_added(module):
    x = clips()
    change = module(x, FRAMES) - x
    assert close(module(x, FRAMES, effect=0.25), x + 0.25 * change)
    effect = torch.tensor([0.0, 0.5, 1.0, 2.0])
    expected = x + change * effect.repeat(2).view(-1, 1, 1, 1)
    assert close(module(x, FRAMES, effect=effect), expected)
    assert torch.equal(module(x, FRAMES, effect=effect)[0], x[0])


def test_scale_multiplies_the_logits(module):
    x = clips()
    assert torch.equal(module(x, FRAMES, scale=1.0), module(x, FRAMES))
    assert not close(module(x, FRAMES, scale=1.5), module(x, FRAMES), 1e-3)


@pytest.mark.parametrize("clip_norm", [False, True])
def test_norm_statistics_are_per_frame_or_per_clip(clip_norm, random_weights):
    module = random_weights(TemporalTransformer(CHANNELS, heads=4, clip_norm=clip_norm))
    seen = []
    module.proj_in.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    module.norm.weight.data.fill_(1.0)
    module.norm.bias.data.zero_()
    x = clips(1) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(-1, 1, 1, 1)
    module(x, FRAMES)
    spread = seen[0].square().mean(dim=(0, 2)).sqrt()  # N x F x C -> F
    assert ((spread - 1).abs().max() < 1e-3) != clip_norm


def test_gradients_reach_every_weight_and_checkpointing_keeps_them(module):
    x = clips().requires_grad_()
    module(x, FRAMES).square().mean().backward()
    plain = {name: weight.grad.clone() for name, weight in module.named_parameters()}
    plain["x"] = x.grad.clone()
    assert all(gradient.abs().max() > 0 for gradient in plain.values())
    module.zero_grad()
    x.grad = None
    checkpoint(module, x, FRAMES, use_reentrant=False).square().mean().backward()
    again = {name: weight.grad for name, weight in module.named_parameters()} | {"x": x.grad}
    assert all(close(again[name], plain[name]) for name in plain)


def test_gradient_is_the_derivative(random_weights):
    module = random_weights(TemporalTransformer(8, heads=2, norm_groups=4)).double()
    x = torch.randn(3, 8, 1, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: module(value, 3), (x,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_full(module, dtype):
    x = clips()
    full = module(x, FRAMES)
    half = module.to(dtype)(x.to(dtype), FRAMES)
    assert half.dtype == dtype and close(half.float(), full, 0.05)


@pytest.mark.parametrize(
    ("shape", "frames", "said"),
    [
        ((9, CHANNELS, 2, 2), 9, "Context Windows"),
        ((6, CHANNELS, 2, 2), 4, "does not divide"),
        ((4, 2 * CHANNELS, 2, 2), 4, "got .4, 64, 2, 2"),
        ((4, CHANNELS, 2, 2), 0, "does not divide"),
    ],
)
def test_wrong_input_is_refused(module, shape, frames, said):
    with pytest.raises(ValueError, match=said):
        module(torch.zeros(shape), frames)


def test_host_operations_cast_every_stored_type(comfy_host, module):
    import comfy.ops

    x = clips()
    expected = module(x, FRAMES)
    for dtype, tolerance in ((torch.float16, 5e-3), (torch.bfloat16, 3e-2), (torch.float8_e4m3fn, 0.3)):
        cast = TemporalTransformer(
            CHANNELS, heads=4, max_frames=8, ops=comfy.ops.manual_cast, dtype=torch.float32
        )
        cast.load_state_dict({k: v.to(dtype) for k, v in module.state_dict().items()}, assign=True)
        with torch.no_grad():
            assert close(cast(x, FRAMES), expected, tolerance)
        assert cast.attentions[0].qkv.weight.dtype == dtype
