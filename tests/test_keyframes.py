"""Keyframes: checked in one sentence, placed in order; their weights in time and the pull towards them."""

import pytest
import torch
from choreographer.core.keyframe_guidance import CURVES, Guidance, match_tone, pull
from choreographer.core.keyframes import (
    EASINGS,
    Keyframe,
    Keyframes,
    falloff,
    keyframes_of_batch,
    neighbours,
    parse_frames,
    spread_frames,
)

IMAGE = torch.rand(6, 10, 3)


def keys(*frames, **options):
    return Keyframes(tuple(Keyframe(IMAGE, frame, **options) for frame in frames))


def test_placed_counts_from_the_end_and_sorts():
    placed = Keyframes(tuple(Keyframe(IMAGE + i, frame) for i, frame in enumerate((-1, 0, 8)))).placed(16)
    assert placed.frames == (0, 8, 15)
    assert placed.images.shape == (3, 6, 10, 3)
    assert [float((image - IMAGE).mean().round()) for image in placed.images] == [1, 2, 0]
    assert keys(-1, 0, 8).order(16) == [1, 2, 0]


@pytest.mark.parametrize(
    ("frames", "count", "message"),
    [
        ((16,), 16, "set for frame 16, the clip has frames 0 to 15"),
        ((-17,), 16, "set for frame -17, the clip has"),
        ((3, 3), 16, "Frame 3 has two keyframes"),
        ((-1, 15), 16, "Frame 15 has two keyframes"),
        ((1,), 1, "the clip has frames 0 to 0"),
        ((), 16, "There are no keyframes"),
    ],
)
def test_wrong_places_are_one_sentence(frames, count, message):
    with pytest.raises(ValueError, match=message):
        keys(*frames).placed(count)


def test_wrong_images_and_numbers_are_one_sentence():
    with pytest.raises(ValueError, match="image for frame 0 is 10x6, the clip is 16x8"):
        keys(0).placed(4, (16, 8))
    with pytest.raises(ValueError, match="frame 2 is 4x4, the first keyframe is 10x6"):
        keys(0).plus(Keyframe(torch.rand(4, 4, 3), 2)).placed(4)
    with pytest.raises(ValueError, match="use 'Split Image with Alpha'"):
        Keyframe(torch.rand(4, 4, 4), 0)
    with pytest.raises(ValueError, match="height x width x 3"):
        Keyframe(torch.rand(1, 4, 4, 3), 0)
    with pytest.raises(ValueError, match="strength is 1.5"):
        Keyframe(IMAGE, 0, 1.5)
    with pytest.raises(ValueError, match="easing is 'round'"):
        Keyframe(IMAGE, 0, 1.0, "round")
    with pytest.raises(ValueError, match="2 keyframe images and 1 frames"):
        keyframes_of_batch(torch.rand(2, 4, 4, 3), (0,))


def test_frames_as_text():
    assert parse_frames("0, 8,-1") == parse_frames(" 0 8\n-1, ") == (0, 8, -1)
    assert parse_frames("") == parse_frames(" , ") == ()
    with pytest.raises(ValueError, match="got '2.5'"):
        parse_frames("0, 2.5")


@pytest.mark.parametrize("frames", [1, 2, 5, 16, 31])
def test_evenly_spread_frames_are_distinct_and_hold_both_ends(frames):
    for count in range(1, frames + 1):
        places = spread_frames(count, frames)
        assert len(set(places)) == count and min(places) == 0
        assert count == 1 or max(places) == frames - 1
        steps = [b - a for a, b in zip(places, places[1:], strict=False)]
        assert not steps or max(steps) - min(steps) <= 1
    with pytest.raises(ValueError, match="keyframe images for"):
        spread_frames(frames + 1, frames)


@pytest.mark.parametrize("easing", EASINGS)
@pytest.mark.parametrize("reach", [0, 1.5, 3, 100])
def test_weights_hold_at_keyframes_and_never_exceed_one(easing, reach):
    weights = falloff(keys(2, 5, 15, easing=easing).placed(16), 16, reach)
    assert weights.shape == (3, 16) and weights.min() >= 0 and weights.sum(0).max() <= 1 + 1e-6
    assert torch.equal(weights[:, [2, 5, 15]], torch.eye(3)), "only a keyframe acts at its own frame"
    assert torch.equal(weights[0, :3].diff() >= 0, torch.ones(2, dtype=torch.bool))
    far = [f for f in range(16) if min(abs(f - k) for k in (2, 5, 15)) >= reach + 1]
    assert not weights[:, far].any()


@pytest.mark.parametrize("easing", ["linear", "smooth"])
def test_between_two_keyframes_weights_sum_to_one(easing):
    placed = keys(0, 8, easing=easing).placed(9)
    weights = falloff(placed, 9, 8)
    torch.testing.assert_close(weights.sum(0), torch.ones(9))
    torch.testing.assert_close(weights[0], weights[1].flip(0))
    if easing == "linear":
        torch.testing.assert_close(weights[1, :8], neighbours(placed.frames, 9).share[:8])


def test_strength_scales_a_keyframe():
    assert torch.equal(falloff(keys(3, strength=0.5).placed(8), 8, 2), falloff(keys(3).placed(8), 8, 2) * 0.5)


def test_neighbours():
    left, right, share = neighbours((2, 6), 9)
    assert left.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1]
    assert right.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert share.tolist() == [0, 0, 0, 0.25, 0.5, 0.75, 0, 0, 0]
    assert neighbours((0,), 1).share.tolist() == [0]


def test_pull_is_exact_at_weight_one_and_leaves_weight_zero():
    clean, targets = torch.randn(9, 4, 3, 2), torch.randn(2, 4, 3, 2)
    weights = falloff(keys(0, 8).placed(9), 9, 2)
    mixed = pull(clean, targets, weights)
    assert torch.equal(mixed[[0, 8]], targets)
    assert torch.equal(mixed[3:6], clean[3:6])
    torch.testing.assert_close(mixed[1], clean[1] / 3 + targets[0] * 2 / 3)


@pytest.mark.parametrize("curve", CURVES)
def test_curves_begin_alike_and_act_only_in_range(curve):
    placed = keys(4).placed(9)
    guidance = Guidance(0.8, 3, 0.2, 0.6, curve)
    begin = guidance.weights(placed, 9, 0.2)
    torch.testing.assert_close(begin, falloff(placed, 9, 3) * 0.8)
    for percent in (0.0, 0.19, 0.61, 1.0):
        assert not guidance.weights(placed, 9, percent).any()
    end, alone = guidance.weights(placed, 9, 0.6), falloff(placed, 9, 0) * 0.8
    expected = {"focus": alone, "constant": begin, "fade": begin * 0}[curve]
    torch.testing.assert_close(end, expected, atol=1e-6, rtol=0)


def test_tone_goes_from_keyframe_to_keyframe_and_follows_the_background():
    frames, generator = 9, torch.Generator().manual_seed(0)
    clean = torch.randn(frames, 4, 8, 8, generator=generator)
    targets = torch.stack([torch.full((4, 8, 8), 1.0), torch.full((4, 8, 8), 3.0)])
    weights = Guidance(tone=1.0).tones(keys(2, 6), frames, 0.5)
    made = match_tone(clean, targets, weights)
    tone = made.flatten(2).median(-1).values
    wanted = torch.tensor([1.0, 1, 1, 1.5, 2, 2.5, 3, 3, 3])
    torch.testing.assert_close(tone, wanted[:, None].expand(-1, 4))
    torch.testing.assert_close(made - made.mean((2, 3), True), clean - clean.mean((2, 3), True))
    sprite = made.clone()
    sprite[:, :, 2:5, 2:5] += 20.0  # something that stands before it; the ground moves little
    assert float((match_tone(sprite, targets, weights) - sprite).abs().max()) < 1.0
    for still in ({"tone": 0.0}, {"strength": 0.0}):
        assert not Guidance(**still).tones(keys(2, 6), frames, 0.5).any()
    assert not Guidance(tone=1.0, end_percent=0.4).tones(keys(2, 6), frames, 0.5).any()
    half = match_tone(clean, targets, Guidance(tone=0.5).tones(keys(2, 6), frames, 0.5))
    torch.testing.assert_close(half, (made + clean) / 2)


def test_guidance_out_of_range_is_one_sentence():
    for values, message in (
        ({"strength": 2.0}, "strength is 2"),
        ({"reach": -1.0}, "reach is -1"),
        ({"start_percent": 0.5, "end_percent": 0.5}, "end_percent is 0.5"),
        ({"curve": "round"}, "curve is 'round'"),
    ):
        with pytest.raises(ValueError, match=message):
            Guidance(**values)
