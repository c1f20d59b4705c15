"""Matching, votes, soft attention and confidence."""

import pytest
import torch
from choreographer.core.fusion import attention as at
from choreographer.core.fusion.exact import nearest_patches, patch_error
from choreographer.core.fusion.guides import level_count, normalise, pyramid
from choreographer.tests.fusion.clips import golden_clip, texture


@pytest.mark.parametrize("move", [(0, 0), (3, -2), (11, 7)])
def test_a_moved_picture_is_found_exactly(move):
    dx, dy = move
    wide = torch.nn.functional.avg_pool2d(texture(120, 130), 3, 1, 1)
    source, target = wide[None, :, 10:90, 10:100], wide[None, :, 10 + dy : 90 + dy, 10 + dx : 100 + dx]
    flow = at.match(pyramid(target), pyramid(source))
    inner = flow[0, :, 16:-16, 16:-16]
    assert ((inner[0] == dx) & (inner[1] == dy)).float().mean() > 0.9


def test_matches_lie_between_the_exact_ones_and_none():
    """Away from the edges: there, zero outside counts against every motion."""
    guide = golden_clip()["guide"][[2, 4], 20:60, 20:60].movedim(-1, 1) * 255
    source, target = guide[:1], guide[1:]
    flow = at.match(pyramid(target), pyramid(source), at.Attention(patch=5))
    nearest = nearest_patches(target, source, 5)[0]
    exact, ours, still = (
        patch_error(target, source, found, 5)[:, 6:-6, 6:-6].sum() for found in (nearest, flow, 0 * flow)
    )
    assert exact <= ours < 0.5 * still


def test_pairs_do_not_act_on_each_other():
    pictures = torch.stack([texture(50, 41, seed) for seed in range(4)])
    both = at.match(pyramid(pictures[:2]), pyramid(pictures[2:]))
    assert torch.equal(both[1:], at.match(pyramid(pictures[1:2]), pyramid(pictures[3:])))


def test_box_mean_is_the_mean_over_a_window_with_continued_edges():
    values = torch.rand(2, 5, 3)
    wide = torch.nn.functional.pad(values[:, None], (3,) * 4, mode="replicate")
    assert torch.allclose(at.box_mean(values, 7), torch.nn.functional.avg_pool2d(wide, 7, 1)[:, 0], atol=1e-6)


def test_vote_of_a_constant_flow_is_the_moved_picture():
    picture = texture(20, 24)[None]
    flow = torch.zeros(1, 2, 20, 24, dtype=torch.int64)
    flow[:, 0] = 2
    moved = at.vote(picture, at.inside(flow), 3)
    assert torch.allclose(moved[..., 3:-6], picture[..., 5:-4], atol=1e-4)


def test_cold_soft_attention_is_the_nearest_patch_and_hot_attention_a_mean():
    picture = texture(30, 30)[None]
    still = torch.zeros(1, 2, 30, 30, dtype=torch.int64)
    cold = at.soften(picture, picture, picture, still, at.Attention(temperature=1e-3))
    assert torch.allclose(cold, picture, atol=1e-3)
    hot = at.soften(picture, picture, picture, still, at.Attention(temperature=1e9))
    mean = torch.nn.functional.avg_pool2d(picture, 7, 1)
    assert torch.allclose(hot[..., 3:-3, 3:-3], mean, atol=1e-3)


def test_confidence_is_one_for_equal_guides_and_falls_where_they_differ():
    guide = texture(40, 40)[None]
    assert torch.equal(at.confidence(guide, guide), torch.ones(1, 1, 40, 40))
    other = guide.clone()
    other[..., :10, :10] += 80
    trust = at.confidence(other, guide)
    assert trust[..., :8, :8].max() < 1e-3 and trust[..., 12:, 12:].min() == 1


def test_guides_forget_gain_offset_and_slow_light():
    clip = golden_clip()["guide"][:1].movedim(-1, 1) * 0.6
    light = torch.linspace(0, 0.2, 96)[None, None, None, :]
    same, lit = normalise(clip), normalise(1.3 * clip + 0.05 + light)
    inner = (..., slice(16, -16), slice(16, -16))
    left = (same - lit)[inner].square().mean() / same[inner].square().mean()
    assert left < 0.05
    assert torch.equal(normalise(torch.full((1, 3, 9, 9), 0.5)), torch.zeros(1, 3, 9, 9))


def test_levels():
    assert [level_count(96, 96), level_count(512, 512), level_count(1080, 1920), level_count(1, 9)] == [
        3,
        5,
        6,
        1,
    ]
    assert [tuple(x.shape[-2:]) for x in pyramid(torch.zeros(1, 3, 81, 95))] == [(21, 24), (41, 48), (81, 95)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"radius": 0}, "radius is 0"),
        ({"patch": 4}, "patch is 4"),
        ({"vote": -1}, "vote is -1"),
        ({"temperature": -1.0}, "temperature is -1"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        at.Attention(**wrong)
