"""The losses of layered neural atlases (Kasten et al. 2021), each as its published code computes it.

Pixels are `Pixels` of a clip: columns x, y and frame numbers t, (N,) whole numbers. Flow is (H, W, 2, F, S):
for each of S strides (frame t to t + 2^s) dx and dy, with masks (H, W, F, S) of where it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .networks import Grid

Mapping = Callable[[Tensor], Tensor]  # coordinates (N, 3) -> (N, C)
JACOBIAN_EPS = 0.001


@dataclass(frozen=True)
class Pixels:
    """Pixels of a clip, and the grid that turns them into coordinates."""

    x: Tensor
    y: Tensor
    t: Tensor
    grid: Grid

    def points(self, dx: float = 0, dy: float = 0) -> Tensor:
        """Coordinates (N, 3), moved by so many pixels."""
        return self.grid(self.x + dx, self.y + dy, self.t)


@dataclass(frozen=True)
class Flow:
    """Flow to later (`forward`) and earlier (`backward`) frames, and where each holds."""

    forward: Tensor
    forward_mask: Tensor
    backward: Tensor
    backward_mask: Tensor


@dataclass(frozen=True)
class Matches:
    """Which of the pixels the flow leads somewhere, and the coordinates there."""

    rows: Tensor
    points: Tensor


def squared(difference: Tensor) -> Tensor:
    """Mean over points of the squared length of (N, C)."""
    return difference.square().sum(dim=1).mean()


def gradient_loss(right: Tensor, below: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """How far a reconstruction's differences to the right and lower pixel, (N, 3), are from the clip's."""
    return squared(dx - right) + squared(dy - below)


def jacobians(along_x: Tensor, along_y: Tensor, grid: Grid, step: int, scale: float = 1.0) -> Tensor:
    """Jacobians (N, 2, 2) of a mapping in units of the picture, from differences (N, 2) over `step` pixels.

    The published code takes backward differences, its Eq. 9 forward ones. scale: of the frame in the picture.
    """
    return torch.stack((along_x, along_y), dim=2) * (grid.longer / 2 / step / scale)


def rigidity(jacobian: Tensor) -> Tensor:
    """||J^T J||_F + ||(J^T J + eps)^-1||_F of each Jacobian, (N,): least for rotations (Eq. 9)."""
    product = jacobian.transpose(1, 2) @ jacobian
    a, d = product[:, 0, 0] + JACOBIAN_EPS, product[:, 1, 1] + JACOBIAN_EPS
    b, c = product[:, 0, 1], product[:, 1, 0]
    adjoint = torch.stack((torch.stack((d, -b), 1), torch.stack((-c, a), 1)), 1)
    inverse = adjoint / (a * d - b * c)[:, None, None]
    return product.square().sum((1, 2)).sqrt() + inverse.square().sum((1, 2)).sqrt()


def matches(pixels: Pixels, flow: Tensor, mask: Tensor, direction: int) -> Matches:
    """Where the flow leads from the pixels; direction 1 for later frames, -1 for earlier."""
    rows, strides = torch.where(mask[pixels.y, pixels.x, pixels.t])
    x, y, t = pixels.x[rows], pixels.y[rows], pixels.t[rows]
    moved = flow[y, x, :, t, strides]
    points = pixels.grid(x + moved[:, 0], y + moved[:, 1], t + direction * 2**strides)
    return Matches(rows, points)


def both_ways(pixels: Pixels, flow: Flow) -> tuple[Matches, Matches]:
    """Matches in later and in earlier frames."""
    return (
        matches(pixels, flow.forward, flow.forward_mask, 1),
        matches(pixels, flow.backward, flow.backward_mask, -1),
    )


def flow_loss(
    mapping: Mapping, uv: Tensor, found: tuple[Matches, Matches], grid: Grid,
    weights: Tensor | None = None, scale: float = 1.0,
) -> Tensor:  # fmt: skip
    """How far apart, in pixels, the flow's ends lie in the atlas (Eq. 11); `weights` (N, 1) of the pixels."""
    losses = []
    for match in found:
        error = (mapping(match.points) - uv[match.rows]).norm(dim=1) * (grid.longer / (2 * scale))
        if weights is not None:
            error = error * weights[match.rows, 0]
        losses.append(_mean(error))
    return sum(losses) * 0.5


def alpha_flow_loss(alpha_at: Mapping, alpha: Tensor, found: tuple[Matches, Matches]) -> Tensor:
    """How much alpha changes along the flow (Eq. 12); alpha (N, 1) at the pixels."""
    return sum(_mean((alpha[match.rows] - alpha_at(match.points)).abs()) for match in found) * 0.5


def bootstrap_loss(alpha: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy between alpha (N, 1) and a mask (N, 1) of the foreground in 0..1."""
    return -(mask * alpha.log() + (1 - mask) * (1 - alpha).log()).mean()


def sparsity_loss(foreground: Tensor, alpha: Tensor) -> Tensor:
    """What the foreground's colours (N, 3) hold where it is not seen: they should be black there."""
    return squared(foreground * (1 - alpha))


def _mean(values: Tensor) -> Tensor:
    """The mean, 0 of nothing: where no flow holds there is nothing to compare."""
    return values.mean() if len(values) else values.sum()
