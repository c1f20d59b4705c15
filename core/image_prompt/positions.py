"""Where a picture's and a clip's tokens are in space and time, as sinusoids (the paper's addition).

Its published code cannot run; this follows its formula. A picture of another size than the clip, and the
coarser layers of a UNet, take positions on one base grid.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoids(positions: Tensor, channels: int) -> Tensor:
    """[2i] = sin(p / 10000^(2i / channels)), [2i + 1] = cos of the same: ... -> ... x channels float32."""
    steps = torch.arange(0, channels, 2, dtype=torch.float64, device=positions.device) / channels
    angle = positions.double()[..., None] * torch.exp(-math.log(10000.0) * steps)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2).float()


def picture_positions(
    grid: tuple[int, int], base: tuple[int, int], channels: int, device: torch.device | None = None
) -> Tensor:
    """Positions of the tokens of a `grid` (height, width), row by row, on the grid `base`.

    Returns (height width) x channels on the device: rows in the first half of the channels, columns in the
    second. Raises ValueError when `channels` is no multiple of 4.
    """
    if channels % 4:
        raise ValueError(f"Positions need a multiple of 4 channels, got {channels}")
    rows, columns = (
        sinusoids((torch.arange(size) + 0.5) * whole / size - 0.5, channels // 2).to(device)
        for size, whole in zip(grid, base, strict=True)
    )
    places = (
        rows[:, None].expand(*grid, channels // 2),
        columns[None].expand(*grid, channels // 2),
    )
    return torch.cat(places, dim=-1).flatten(0, 1)


def video_positions(
    grid: tuple[int, int],
    base: tuple[int, int],
    frames: Tensor,
    channels: int,
    device: torch.device | None = None,
) -> Tensor:
    """Those of a clip's frames, numbered from the clip's beginning also in a window: F x T x channels.

    Only rows, columns and frames are computed on the CPU; what is large is put together on the device.
    """
    time = sinusoids(frames.cpu(), channels).to(device)
    return picture_positions(grid, base, channels, device) + time[:, None]


def token_grid(tokens: int, size: tuple[int, int]) -> tuple[int, int]:
    """The grid (height, width) of a layer with so many tokens in a UNet that runs on a grid `size`.

    Each level halves the grid, rounding up. Raises ValueError when no level has that many tokens.
    """
    height, width = size
    while height * width > tokens:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != tokens:
        raise ValueError(f"No level of a UNet on latents of {size[1]}x{size[0]} has {tokens} tokens")
    return height, width
