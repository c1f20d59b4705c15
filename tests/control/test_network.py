"""The network's own laws: what it starts as, what mixes and what not, which shapes it gives and takes."""

import pytest
import torch
from choreographer.core.control.network import ControlConfig, VideoControlNet

from .conftest import SMALL

CLIPS, FRAMES, HEIGHT, WIDTH = 2, 5, 8, 12  # latent cells
CHANNELS = {"image": 5, "pixels": 4, "flow": 2}


def inputs(kind="image", clips=CLIPS, height=HEIGHT, width=WIDTH):
    generator = torch.Generator().manual_seed(1)
    cell = 1 if kind == "image" else 8
    condition = torch.randn(clips, FRAMES, CHANNELS[kind], height * cell, width * cell, generator=generator)
    return condition, 481.0, torch.randn(clips * FRAMES, 7, SMALL["context"], generator=generator)


def run(net, condition, timestep, context, **options):
    with torch.no_grad():
        down, mid = net(condition, timestep, context, **options)
    return [*down, mid]


def close(ours, expected, bound=1e-5):
    return all((a - b).abs().max() <= bound * b.abs().max() for a, b in zip(ours, expected, strict=True))


@pytest.mark.parametrize("kind", CHANNELS)
def test_a_fresh_network_changes_nothing(kind):
    net = VideoControlNet(ControlConfig(**SMALL, kind=kind, condition=CHANNELS[kind]))
    assert all(not x.any() for x in run(net, *inputs(kind)))


@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize("size", [(8, 12), (9, 15)])
def test_residuals_have_the_shapes_of_the_skips(small, kind, size):
    half, quarter = ([-(-cells // part) for cells in size] for part in (2, 4))
    expected = [(32, *size)] * 3 + [(32, *half)] + [(64, *half)] * 2 + [(64, *quarter)] * 3
    found = run(small(kind), *inputs(kind, height=size[0], width=size[1]))
    assert [x.shape for x in found] == [(CLIPS * FRAMES, *shape) for shape in (*expected, (64, *quarter))]
    assert all(x.std() > 0.01 for x in found)


def test_sd15_gives_twelve_residuals_and_the_middle():
    net = VideoControlNet(ControlConfig(), device="meta")
    assert [conv.out_channels for conv in net.controlnet_down_blocks] == [320] * 4 + [640] * 3 + [1280] * 5
    assert net.controlnet_mid_block.out_channels == 1280


def test_strength_scales_all_residuals(small):
    net = small()
    full, half, none = (run(net, *inputs(), strength=strength) for strength in (1.0, 0.5, 0.0))
    assert all(torch.equal(a * 0.5, b) for a, b in zip(full, half, strict=True))
    assert not any(x.any() for x in none)


def test_one_condition_serves_all_clips(small):
    net = small("flow")
    condition, timestep, context = inputs("flow")
    shared = run(net, condition[:1], timestep, context)
    assert close(shared, run(net, condition[:1].expand(CLIPS, -1, -1, -1, -1), timestep, context))


def test_clips_do_not_mix_but_frames_do(small):
    net = small()
    condition, timestep, context = inputs()
    both = run(net, condition, timestep, context)
    alone = run(net, condition[1:], timestep, context[FRAMES:])
    assert close([x[FRAMES:] for x in both], alone)
    changed = condition.clone()
    changed[0, 4] += 1.0
    moved = run(net, changed, timestep, context)
    assert close([x[FRAMES:] for x in moved], [x[FRAMES:] for x in both])
    assert (moved[1][0] - both[1][0]).abs().max() > 1e-3 * both[1].abs().max()  # frame 0, another changed
    assert torch.equal(moved[0][0], both[0][0])  # before the first motion module


def test_a_time_step_can_differ_by_frame(small):
    net = small()
    condition, _, context = inputs()
    times = torch.full((CLIPS * FRAMES,), 481)
    assert close(run(net, condition, times, context), run(net, condition, 481, context))
    times[FRAMES:] = 41
    expected = run(net, condition[1:], 41, context[FRAMES:])
    assert close([x[FRAMES:] for x in run(net, condition, times, context)], expected)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("image", lambda c, t, x: (c[:, :, :4], t, x), "frames x 5 x height x width"),
        ("flow", lambda c, t, x: (c[0], t, x), r"frames x 2 x .* got \(5, 2,"),
        ("flow", lambda c, t, x: (c[..., :-1], t, x), "multiples of 8, got 95x64"),
        ("image", lambda c, t, x: (c, t, x[..., :7]), r"24 wide, got \(10, 7, 7\)"),
        ("image", lambda c, t, x: (c, t, x[:-1]), "Text states of 9 frames"),
        ("image", lambda c, t, x: (c, t, torch.cat((x, x))), "Text states of 20 frames"),
        ("image", lambda c, t, x: (c, torch.arange(3), x), "or 10 for all frames, got 3"),
    ],
)
def test_inputs_that_do_not_fit_are_named(small, kind, change, said):
    with pytest.raises(ValueError, match=said):
        small(kind)(*change(*inputs(kind)))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="image, pixels, flow as condition, not 'depth'"):
        VideoControlNet(ControlConfig(kind="depth"), device="meta")


def test_every_weight_gets_a_gradient_but_the_kernel_that_sees_zeros(small):
    net = small("flow").train()
    down, mid = net(*inputs("flow"))
    sum(x.square().mean() for x in (*down, mid)).backward()
    without = {
        name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()
    }
    assert without == {"conv_in.weight"}


def test_the_hosts_operations_cast_half_precision_weights(comfy_host, small):
    import comfy.ops

    plain = small("flow")
    for weight in plain.parameters():  # the position tables stay as they are
        weight.data = weight.data.half().float()
    cast = VideoControlNet(plain.config, ops=comfy.ops.manual_cast, dtype=torch.float16)
    cast.load_state_dict(plain.state_dict())
    assert cast.conv_in.weight.dtype == torch.float16
    assert close(run(cast, *inputs("flow")), run(plain, *inputs("flow")))


def test_bfloat16_runs(small):
    condition, timestep, context = inputs("flow")
    expected = run(small("flow"), condition, timestep, context)
    found = run(small("flow").bfloat16(), condition.bfloat16(), timestep, context.bfloat16())
    assert all(x.dtype == torch.bfloat16 for x in found) and close(found, expected, 0.1)
