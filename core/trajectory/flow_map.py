"""Tracks as a flow map, the condition of Image Conductor's flow net: sparse motion, spread by a Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .sample import Sampled

SIGMA = 10.0  # pixels
REACH = 4.9  # kernel radius in sigmas: 99 x 99 at sigma 10


@dataclass(frozen=True, eq=False)
class FlowMap:
    """A flow map, and what the user should know about it."""

    flow: Tensor  # (F, 2, H, W) float32, channel 0 = dx, pixels from the frame before; frame 0 is zero
    notes: tuple[str, ...] = ()


def flow_map(sampled: Sampled, sigma: float = SIGMA) -> FlowMap:
    """Flow map of sampled tracks: (F, 2, H, W) float32.

    Frame i + 1 has p[i + 1] - p[i] at the pixel of p[i], where a later track overwrites an earlier one,
    spread by a Gaussian of sum 1 (so the peak is the displacement / 628 at sigma 10), reflect-101 at the
    borders, no scaling. A point outside the frame acts at the nearest border pixel, which a note says. What
    is not visible at either end of a step does not act. Raises ValueError unless sigma is above 0.
    """
    if not sigma > 0:
        raise ValueError(f"Sigma of the flow map is {sigma:g}, expected above 0 pixels")
    width, height = sampled.size
    paths, frames = sampled.paths, sampled.paths.shape[1]
    flow = torch.zeros(frames, 2, height, width)
    steps = motion(sampled)
    if steps.any():
        x, y = paths[:, :-1].floor().long().unbind(-1)  # N F-1
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        steps = steps * _last_in_its_pixel(y * width + x, _seen(sampled))[..., None]
        across, down = spread(width, sigma).float(), spread(height, sigma)
        for frame, (step, column, row) in enumerate(
            zip(steps.unbind(1), x.unbind(1), y.unbind(1), strict=True), 1
        ):
            # a pixel's Gaussian is a product of a column and a row: 2 H N times N W
            columns = step.T[:, None] * down[row].T
            torch.matmul(columns.float(), across[column], out=flow[frame])
    return FlowMap(flow, _notes(sampled, steps))


def motion(sampled: Sampled) -> Tensor:
    """Displacement of each track in each step, times its weight; zero where it is not seen: (N, F - 1, 2)."""
    weights = torch.tensor([track.weight for track in sampled.tracks], dtype=torch.float64)
    return sampled.paths.diff(dim=1) * (weights[:, None] * _seen(sampled))[..., None]


def _seen(sampled: Sampled) -> Tensor:
    """Whether a track is visible at both ends of a step, (N, F - 1) bool."""
    return sampled.visible[:, 1:] & sampled.visible[:, :-1]


def spread(length: int, sigma: float) -> Tensor:
    """(length, length) float64: row i is what a one at i becomes under the Gaussian, reflect-101 at the ends.

    A separable filter with a reflecting border is this matrix on each axis.
    """
    radius = round(REACH * sigma)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    period = max(2 * (length - 1), 1)
    place = (torch.arange(length)[:, None] + offsets) % period  # output x kernel
    source = torch.minimum(place, period - place) if length > 1 else torch.zeros_like(place)
    found = torch.zeros(length, length, dtype=torch.float64)
    found.scatter_add_(1, source, (kernel / kernel.sum()).expand_as(place).contiguous())
    return found.T.contiguous()


def _last_in_its_pixel(cells: Tensor, seen: Tensor) -> Tensor:
    """Where a track is seen and no later one in the same pixel, (N, S) bool, of cell numbers (N, S)."""
    kept = torch.zeros_like(seen)
    for step, (row, shown) in enumerate(zip(cells.T.tolist(), seen.T.tolist(), strict=True)):
        last = {cell: track for track, cell in enumerate(row) if shown[track]}
        kept[list(last.values()), step] = True
    return kept


def _notes(sampled: Sampled, steps: Tensor) -> tuple[str, ...]:
    """What happened that a user may not expect."""
    if not sampled.tracks:
        return ("There is no visible track: nothing moves.",)
    if not steps.any():
        return ("No track moves: the flow map is zero, as without tracks.",)
    size = torch.tensor(sampled.size)
    outside = ((sampled.paths < 0) | (sampled.paths >= size)).any(-1)[:, :-1] & steps.any(-1)
    return tuple(
        f"{track.title} is outside the frame in {_ranges(frames.nonzero().flatten().tolist())}: "
        "its motion acts at the nearest border pixel."
        for track, frames in zip(sampled.tracks, outside, strict=True)
        if frames.any()
    )


def _ranges(frames: list[int]) -> str:
    """Frame numbers in words, as in "frames 3 to 5"."""
    first, last = frames[0], frames[-1]
    if first == last:
        return f"frame {first}"
    return f"frames {first} to {last}" if len(frames) == last - first + 1 else f"{len(frames)} frames"
