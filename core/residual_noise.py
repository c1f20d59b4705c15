"""Residual noise (Control-A-Video, Chen et al. 2023): noise that travels with the picture.

Where the picture stays or moves, a frame keeps the noise of the frame before, moved along the optical flow;
where something new appears it gets fresh noise.
"""

import torch

from .noise import normals, seeded


def check_motion(frames: int, size: tuple[int, int], flow: torch.Tensor, keep: torch.Tensor | None) -> None:
    """Raise ValueError unless flow is (frames - 1, 2, h, w) and keep, where given, (frames - 1, h, w)."""
    expected = (frames - 1, 2, *size)
    if tuple(flow.shape) != expected:
        raise ValueError(
            f"Flow is {tuple(flow.shape)}, {frames} frames of {size[1]}x{size[0]} need {expected}."
        )
    if keep is not None and tuple(keep.shape) != (frames - 1, *size):
        raise ValueError(f"Keep mask is {tuple(keep.shape)}, expected {(frames - 1, *size)}.")


def moved_along_flow(
    frames: int,
    shape: tuple[int, int, int],
    seed: int,
    flow: torch.Tensor,
    keep: torch.Tensor | None = None,
) -> torch.Tensor:
    """Each frame's noise is the previous frame's, moved along the flow; (frames, C, h, w), every frame white.

    Noise moves by whole pixels, and a source pixel serves once: where two targets want it, the first in
    reading order has it. The others draw fresh noise, as do targets whose source is outside or not kept.
    (Bilinear warping would shrink the variance and blur; copying a pixel twice would correlate neighbours.)
    With zero flow, `keep` is the paper's residual mask.

    shape: (C, h, w). flow: (frames - 1, 2, h, w) in pixels of the noise, channel 0 = dx; pixel p of frame t +
    1 comes from p + flow[t, :, p] of frame t. keep: (frames - 1, h, w) bool or None; False asks for fresh
    noise.
    """
    check_motion(frames, shape[1:], flow, keep)
    noise = normals(frames, shape, seeded(seed))
    for t in range(frames - 1):
        source, found = _unique_sources(flow[t].cpu(), None if keep is None else keep[t].cpu())
        moved = noise[t].flatten(1)[:, source].view(shape)
        noise[t + 1] = torch.where(found.view(shape[1:]), moved, noise[t + 1])
    return noise


def _unique_sources(flow: torch.Tensor, keep: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat source index of each target pixel, and whether it has one to itself: both (h w)."""
    height, width = flow.shape[1:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = (columns + flow[0]).round().long()
    y = (rows + flow[1]).round().long()
    found = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if keep is not None:
        found &= keep
    found = found.flatten()
    source = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).flatten()
    target = torch.arange(height * width)
    nobody = height * width
    owner = torch.full((height * width,), nobody)
    owner.scatter_reduce_(0, source, torch.where(found, target, nobody), "amin")
    return source, found & (owner[source] == target)
