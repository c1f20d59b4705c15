"""Residual noise: it travels with the flow and every frame stays white."""

import pytest
import torch
from choreographer.core.noise import normals, seeded
from choreographer.core.residual_noise import moved_along_flow

SHAPE = (4, 64, 64)


def constant(frames, dx, dy):
    """The same flow at every pixel, (frames - 1, 2, 64, 64)."""
    return torch.tensor([dx, dy], dtype=torch.float32).view(1, 2, 1, 1).expand(frames - 1, 2, 64, 64)


def test_pan_moves_the_noise():
    """A pan by (3, -2): what was in the frame has moved by that, and the uncovered edge is fresh."""
    clip = moved_along_flow(2, SHAPE, 1, constant(2, -3, 2))
    assert torch.equal(clip[1, :, :62, 3:], clip[0, :, 2:, :61])
    fresh = normals(2, SHAPE, seeded(1))[1]
    assert torch.equal(clip[1, :, 62:], fresh[:, 62:]) and torch.equal(clip[1, :, :, :3], fresh[:, :, :3])


def test_keep_mask_is_the_residual_mask():
    """With no motion a kept pixel keeps its noise in all frames, another one gets its own every time."""
    keep = torch.zeros(3, 64, 64, dtype=torch.bool)
    keep[:, :, 32:] = True
    clip = moved_along_flow(4, SHAPE, 2, constant(4, 0, 0), keep)
    assert torch.equal(clip[3, :, :, 32:], clip[0, :, :, 32:])
    assert torch.equal(clip[:, :, :, :32], normals(4, SHAPE, seeded(2))[:, :, :, :32])


def zoom(frames, factor):
    """Flow towards or away from the middle."""
    places = torch.arange(64.0) - 31.5
    y, x = torch.meshgrid(places, places, indexing="ij")
    return torch.stack((x, y)).mul(factor)[None].expand(frames - 1, 2, 64, 64)


@pytest.mark.parametrize("factor", [-0.4, 0.4])
def test_zooming_keeps_frames_white(factor):
    """No pixel's values are used twice in a frame; mean, variance, neighbours are those of white noise."""
    clip = moved_along_flow(6, SHAPE, 3, zoom(6, factor)).double()
    for frame in clip:
        assert len(frame.flatten(1).T.unique(dim=0)) == 64 * 64
    error = 16384**-0.5
    assert float(clip.mean(dim=(1, 2, 3)).abs().max()) <= 5 * error
    assert float((clip.var(dim=(1, 2, 3)) - 1).abs().max()) <= 5 * 2**0.5 * error
    for axis in (2, 3):
        assert float((clip * clip.roll(1, axis)).mean(dim=(1, 2, 3)).abs().max()) <= 5 * error


def test_shorter_clips_begin_longer_ones():
    """As for all noise."""
    flow = zoom(6, 0.1)
    whole = moved_along_flow(6, SHAPE, 4, flow)
    assert torch.equal(moved_along_flow(3, SHAPE, 4, flow[:2]), whole[:3])


def test_mistakes_are_one_sentence():
    """Flow or mask of another shape is named."""
    with pytest.raises(ValueError, match=r"3 frames of 64x64 need \(2, 2, 64, 64\)"):
        moved_along_flow(3, SHAPE, 0, constant(2, 0, 0))
    with pytest.raises(ValueError, match="Keep mask"):
        moved_along_flow(2, SHAPE, 0, constant(2, 0, 0), torch.ones(2, 64, 64, dtype=torch.bool))
