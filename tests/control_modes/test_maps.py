"""Edge maps, and control sequences for a clip at once."""

import sys

import pytest
import torch
from choreographer.core.control_modes.maps import Edges, edge_maps, mix
from choreographer.core.control_modes.sequence import (
    control_sequence,
    interpolate_maps,
    stabilise_maps,
    steady_levels,
)
from choreographer.core.fusion.cuts import find_cuts
from choreographer.core.fusion.stream import Fusion

FRAMES, HEIGHT, WIDTH, STEP = 9, 64, 96, 4


def moving_square(step=STEP):
    """A bright textured square that moves right by `step` pixels a frame over a textured ground."""
    generator = torch.Generator().manual_seed(0)
    ground = torch.rand(HEIGHT // 8, WIDTH // 8, generator=generator) * 0.3
    ground = ground.repeat_interleave(8, 0).repeat_interleave(8, 1)
    texture = 0.7 + 0.3 * torch.rand(6, 6, generator=generator)
    texture = texture.repeat_interleave(4, 0).repeat_interleave(4, 1)
    frames = ground.expand(FRAMES, -1, -1).clone()
    for f in range(FRAMES):
        frames[f, 20:44, 8 + step * f : 32 + step * f] = texture
    return frames[..., None].expand(-1, -1, -1, 3).contiguous()


@pytest.mark.parametrize("method", ["canny", "soft", "lines"])
def test_edges_lie_at_the_square_and_not_inside_plain_ground(method):
    square = torch.zeros(1, HEIGHT, WIDTH, 3)
    square[0, 20:44, 30:60] = 1
    found = edge_maps(square, Edges(method))[0, ..., 0]
    assert found.shape == (HEIGHT, WIDTH) and found.max() > 0.9
    far = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    far[16:48, 26:64] = False
    inside = torch.zeros_like(far)
    inside[26:38, 36:54] = True
    assert found[far].max() < 0.02 and found[inside].max() < 0.02


def test_mixing_rounds_half_to_even():
    black, grey = torch.zeros(1, 2, 3, dtype=torch.uint8), torch.tensor([1, 3], dtype=torch.uint8)
    mixed = mix(black, grey[None, :, None].expand(1, 2, 3), 0.5)
    assert (mixed[0, :, 0] * 255).round().tolist() == [0, 2]  # 0.5 -> 0, 1.5 -> 2


def test_modes_of_a_sequence():
    maps = edge_maps(moving_square())
    assert control_sequence(maps, "per frame") is maps
    before = control_sequence(maps, "previous frame")
    assert torch.equal(before[0], maps[0]) and torch.equal(before[1:], maps[:-1])
    mixed = control_sequence(maps, "interpolated")
    assert torch.equal(mixed[-1], maps[-1]) and torch.equal(mixed[0], maps[0])
    middle = FRAMES // 2
    assert torch.equal(mixed[middle], mix(maps[middle - 1], maps[middle], middle / (FRAMES - 1)))


def test_along_flow_lines_stay_single_where_a_blend_doubles_them():
    images = moving_square()
    maps = edge_maps(images, Edges("soft"))
    places, given = [0, 4, 8], maps[[0, 4, 8]]
    blended, moved = (interpolate_maps(given, places, FRAMES, clip) for clip in (None, images))
    between = [f for f in range(FRAMES) if f not in places]
    errors = [(made - maps)[between].square().mean() for made in (blended, moved)]
    assert errors[1] < 0.4 * errors[0]
    assert torch.equal(moved[places], given) and torch.equal(blended[places], given)


def test_maps_along_flow_take_a_few_steps_a_frame_and_can_be_stopped(monkeypatch):
    flow, images = sys.modules[interpolate_maps.__globals__["ClipFlow"].__module__], moving_square(2)
    maps, true, count = edge_maps(images, Edges("soft")), flow.warp, []
    monkeypatch.setattr(flow, "warp", lambda *parts: count.append(1) or true(*parts))
    made = interpolate_maps(maps[:1], [0], FRAMES, images)
    assert len(count) <= 3 * (FRAMES - 1)
    assert (made - maps).square().mean() < 0.5 * (maps[:1] - maps).square().mean()
    assert torch.equal(made[0], maps[0])
    at_the_end = interpolate_maps(maps[-1:], [FRAMES - 1], FRAMES, images)
    assert (at_the_end - maps).square().mean() < 0.5 * (maps[-1:] - maps).square().mean()

    told = []

    def stop(done, total):
        told.append((done, total))
        if len(told) > 2 * (FRAMES - 1) + 1:  # the flow there and back is found, and one frame is made
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        control_sequence(maps, "along flow", 4, images, stop)
    assert told[-1] == (2, 12), "six frames from each side"


def test_steady_levels_take_out_jumps_and_leave_steady_maps():
    steady = torch.rand(1, 16, 16, 3).expand(8, -1, -1, -1) * 0.5 + 0.2
    assert torch.allclose(steady_levels(steady, 3), steady, atol=1e-5)
    gain = 1 + 0.2 * torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1]).view(-1, 1, 1, 1)
    jumpy = steady * gain
    spread = [maps.mean((1, 2, 3)).std() for maps in (jumpy, steady_levels(jumpy, 3))]
    assert spread[1] < 0.35 * spread[0]


def test_levels_are_not_mixed_over_a_cut():
    images = moving_square(2)[:8]
    images[4:] = 1 - images[4:].flip(1).roll(40, 2)
    maps = torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(1)) * 0.2
    maps = maps.repeat(8, 1, 1, 1)
    maps[4:] += 0.6
    assert find_cuts(images) == (4,)
    made = stabilise_maps(maps, images, Fusion(window=2), level=True)
    assert torch.allclose(made.mean((1, 2, 3)), maps.mean((1, 2, 3)), atol=0.02)
    assert torch.equal(steady_levels(maps, 2, (4,))[4:], steady_levels(maps[4:], 2))


def test_edges_tell_of_each_frame_and_can_be_stopped():
    told, images = [], moving_square()
    edge_maps(images, report=lambda *numbers: told.append(numbers))
    assert told == [(f + 1, FRAMES) for f in range(FRAMES)]


def test_stabilised_depth_is_nearer_to_the_truth():
    images = moving_square(2)
    truth = (images > 0.65).float().amax(-1, keepdim=True).expand(-1, -1, -1, 3) * 0.6 + 0.2
    noise = 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    noisy = (truth + noise).clamp(0, 1)
    made = stabilise_maps(noisy, images, Fusion(window=2), level=True)
    assert (made - truth).square().mean() < 0.6 * (noisy - truth).square().mean()


def test_errors_are_sentences():
    maps = torch.zeros(3, 16, 16, 3)
    for wrong, call in (
        ("Control sequence is 'x'", lambda: control_sequence(maps, "x")),
        ("needs the source clip's images", lambda: control_sequence(maps, "along flow")),
        ("rising numbers", lambda: interpolate_maps(maps, [0, 2, 1], 4)),
        ("Edge method is 'x'", lambda: Edges("x")),
        ("Canny thresholds are 3 and 1", lambda: Edges("canny", 3, 1)),
    ):
        with pytest.raises(ValueError, match=wrong):
            call()
