"""Real footage: a talking face with added flicker, and a clip with hard cuts."""

import pytest
import torch
from choreographer.core.fusion.cuts import find_cuts, scene_of
from choreographer.core.fusion.stream import fuse_clip
from choreographer.core.metrics.quality import psnr
from choreographer.core.metrics.sharpness import sharpness
from choreographer.tests.fusion.clips import flickering, footage, unaligned_mean


def test_a_talking_face_loses_its_flicker_and_stays_sharp():
    clean = footage("carphone_pristine", 40, 10)
    style = flickering(clean)
    fused = fuse_clip(style)
    score = psnr(fused, clean).mean()
    assert score > psnr(style, clean).mean() + 3
    assert score > psnr(unaligned_mean(style, 4), clean).mean()
    assert sharpness(fused).mean() >= 0.85 * sharpness(clean).mean()


@pytest.fixture(scope="module")
def bikes():
    """Frames 26 to 33 of a clip that is cut at frame 30, at a third of its size."""
    return footage("bikes", 26, 8)[:, ::3, ::3]


def test_a_hard_cut_is_found_and_nothing_is_smeared_over_it(bikes):
    assert find_cuts(bikes) == (4,)
    fused = fuse_clip(bikes)
    apart = torch.cat((fuse_clip(bikes[:4]), fuse_clip(bikes[4:])))
    assert torch.equal(fused, apart)


def test_a_plain_thing_leaves_no_ghost_on_a_plain_ground():
    """Inside, neither has a texture that tells it from the other."""
    y, x = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    disc = torch.stack([((x - 20 - 5 * t) ** 2 + (y - 24) ** 2 < 200)[..., None].float() for t in range(5)])
    clip = disc * torch.tensor([0.8, 0.3, 0.2]) + (1 - disc) * torch.tensor([0.25, 0.45, 0.6])
    assert psnr(fuse_clip(clip), clip).min() > 45 > 30 > psnr(unaligned_mean(clip, 4), clip).max()


def test_cuts_are_found_in_flicker_and_none_where_there_is_none():
    clip = footage("bikes", 0, 250)[:, ::3, ::3]
    assert find_cuts(clip) == (30, 76, 137, 187, 242)
    assert find_cuts(flickering(clip[60:100])) == (16,)
    assert find_cuts(flickering(footage("carphone_pristine", 0, 20))) == ()
    noise = torch.rand(9, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    assert find_cuts(noise) == ()
    assert find_cuts(clip[:1]) == () and find_cuts(torch.zeros(3, 2, 2, 3)) == ()


def test_scenes():
    assert [scene_of(i, (2, 4), 6) for i in range(6)] == [(0, 2)] * 2 + [(2, 4)] * 2 + [(4, 6)] * 2
