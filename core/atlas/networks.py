"""The networks of layered atlases (Kasten et al. 2021), and the picture that stands for theirs.

Coordinates: a pixel (x, y) of frame t is (2 x / L - 1, 2 y / L - 1, 2 t / F - 1), L the frame's longer side.
A mapping gives (u, v) in -1..1; of the one atlas the foreground has the square 0..1, the background -1..0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import Linear, functional

LOWEST, SPAN = 0.001, 0.99  # alpha is kept off 0 and 1: LOWEST + SPAN * (0..1)


@dataclass(frozen=True)
class Grid:
    """The pixels of a clip as coordinates: `longer` is its longer side in pixels, `frames` its length."""

    longer: int
    frames: int

    def __call__(self, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """Coordinates (N, 3) of pixels and frame numbers (N,), whole or not, inside the clip or not."""
        half, time = self.longer / 2, self.frames / 2
        return torch.stack((x / half - 1, y / half - 1, t / time - 1), dim=-1).float()


def waves(points: Tensor, octaves: int) -> Tensor:
    """Positions (N, D) as sines and cosines of pi 2^k times them: (N, 2 D octaves)."""
    rates = math.pi * 2.0 ** torch.arange(octaves, device=points.device)
    angles = points[:, :, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1).transpose(1, 2).flatten(1)


class Perceptron(nn.Module):
    """Linear layers with ReLU between and tanh at the end.

    octaves: the input comes as `waves` of so many; 0: as it is. skips: layers that see the input again,
    without gradient to it, as published.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int = 256,
        layers: int = 8,
        octaves: int = 0,
        skips: tuple[int, ...] = (),
    ):
        """Make the layers."""
        super().__init__()
        self.octaves, self.skips = octaves, skips
        first = 2 * inputs * octaves if octaves else inputs
        widths = [first] + [hidden + (first if i in skips else 0) for i in range(1, layers)]
        ends = [hidden] * (layers - 1) + [outputs]
        self.hidden = nn.ModuleList(Linear(a, b) for a, b in zip(widths, ends, strict=True))

    def forward(self, points: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs) in -1..1."""
        x = waves(points, self.octaves) if self.octaves else points
        seen = x.detach()
        for number, layer in enumerate(self.hidden):
            if number:
                x = functional.relu(x)
            if number in self.skips:
                x = torch.cat((x, seen), dim=1)
            x = layer(x)
        return torch.tanh(x)


def alpha_of(value: Tensor) -> Tensor:
    """The alpha net's output (N, 1) in -1..1 as opacity of the foreground, off 0 and 1."""
    return LOWEST + SPAN * 0.5 * (value + 1)


def look_up(picture: Tensor, uv: Tensor) -> Tensor:
    """Colours (N, C) of a picture (C, H, W) at (u, v) in -1..1, the centres of the corner pixels at +-1."""
    found = functional.grid_sample(
        picture[None], uv[None, None], mode="bilinear", padding_mode="border", align_corners=True
    )
    return found[0, :, 0].T


def splat(uv: Tensor, values: Tensor, weights: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The reverse of `look_up`: values (N, C) at (u, v) spread over the four places around, by their weights.

    weights: (N,). Returns the weighted means (C, side, side), 0 where nothing lands, and the sums of weights
    (side, side).
    """
    place = (uv.clamp(-1, 1) + 1) / 2 * (side - 1)
    low = place.floor().clamp(max=side - 2)
    part = place - low
    total = values.new_zeros(side * side, values.shape[1] + 1)
    counted = torch.cat((values, values.new_ones(len(values), 1)), dim=1)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        share = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1]) * weights
        index = (low[:, 1].long() + dy) * side + low[:, 0].long() + dx
        total.index_add_(0, index, counted * share[:, None])
    means = total[:, :-1] / total[:, -1:].clamp_min(1e-6)
    return means.T.reshape(-1, side, side), total[:, -1].view(side, side)
