"""How a layer moves as a whole: an affine move between neighbouring frames, from their flow, and all chained.

A move is (2, 3): p' = A p + b in pixels, x before y.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 24  # pixels that a move is taken from; with fewer a layer is taken to stand still
ROUNDS, TIGHT = 5, 0.5  # of reweighting; pixels that a pixel may be off before it counts less
SAMPLES = 4096
RIDGE = 1e-3  # of the positions' spread, so that a thin layer does not shear


def identity() -> Tensor:
    """The move that leaves everything where it is."""
    return torch.eye(2, 3, dtype=torch.float64)


def composed(second: Tensor, first: Tensor) -> Tensor:
    """First the one, then the other."""
    return second @ torch.cat((first, first.new_tensor([[0.0, 0.0, 1.0]])))


def inverse(move: Tensor) -> Tensor:
    """The move back."""
    back = torch.linalg.inv(move[:, :2])
    return torch.cat((back, -back @ move[:, 2:]), dim=1)


def moved(move: Tensor, points: Tensor) -> Tensor:
    """Points (N, 2) after a move."""
    return points @ move[:, :2].T + move[:, 2]


def move_of(flow: Tensor, inside: Tensor) -> Tensor:
    """The affine move that most of the flow (2, H, W) inside a mask (H, W) agrees on."""
    y, x = torch.where(inside)
    if len(x) < LEAST:
        return identity()
    every = max(1, len(x) // SAMPLES)
    points = torch.stack((x, y), 1)[::every].double()
    shift = flow[:, y, x].T[::every].double()
    middle = points.mean(0)
    rows = torch.cat((points - middle, torch.ones(len(points), 1)), dim=1)
    ridge = torch.diag(torch.tensor([1.0, 1.0, 0.0])) * RIDGE * len(rows) * float(rows[:, :2].var(0).sum())
    weight, found = torch.ones(len(rows), 1, dtype=torch.float64), None
    for _ in range(ROUNDS):
        found = torch.linalg.solve(rows.T @ (weight * rows) + ridge, rows.T @ (weight * shift))
        weight = 1 / (1 + ((rows @ found - shift).norm(dim=1, keepdim=True) / TIGHT).square())
    linear = torch.eye(2) + found[:2].T
    return torch.cat((linear, (found[2] + middle - linear @ middle)[:, None]), dim=1)


def to_first(flow: Tensor, inside: Tensor) -> Tensor:
    """Moves (F, 2, 3) that bring each frame's layer to where the first frame has it.

    flow: forward, (F - 1, 2, H, W); inside: (F - 1, H, W) bool, where it shows the layer and holds.
    """
    found = [identity()]
    for step, here in zip(flow, inside, strict=True):
        found.append(composed(found[-1], inverse(move_of(step, here))))
    return torch.stack(found)
