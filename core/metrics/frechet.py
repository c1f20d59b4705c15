"""Frechet distances between sets of features: like FID and FVD in form, and never to be called so.

FID and FVD are this distance on features of Inception and of I3D. On another net's features the numbers live
on another scale: compare them only among themselves, at equal numbers of images, since few of them bias it
upwards.
"""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Squared Frechet distance of two Gaussians fitted to rows (N, D) and (M, D), in squared feature units.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017, Eq. 6), unbiased
    covariances. The root's trace is the nuclear norm of A B^T, where S1 = A^T A and S2 = B^T B, so that no
    D x D root of a singular matrix is taken. Raises ValueError for fewer than 2 rows, or another width.
    """
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise ValueError(
            f"Features are {tuple(one.shape)} and {tuple(other.shape)}, expected rows of one width."
        )
    if min(len(one), len(other)) < 2:
        raise ValueError(f"A Frechet distance needs 2 rows of each, got {len(one)} and {len(other)}.")
    (first, a), (second, b) = _centred(one), _centred(other)
    root = torch.linalg.svdvals(a @ b.T).sum()
    distance = (first - second).square().sum() + a.square().sum() + b.square().sum() - 2 * root
    return max(float(distance), 0.0)


def _centred(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,), and rows A (N, D) of which A^T A is the covariance."""
    rows = rows.double()
    mean = rows.mean(0)
    return mean, (rows - mean) / (len(rows) - 1) ** 0.5


def clip_features(features: Tensor) -> Tensor:
    """One row (2 D,) for a clip from its frames' features (F, D): their mean, and their mean size of change.

    What it shows and how it changes, so that the distance of clips is more than that of their frames.
    Raises ValueError for a single frame.
    """
    if len(features) < 2:
        raise ValueError(f"A clip's features need at least 2 frames, got {len(features)}.")
    return torch.cat((features.mean(0), features.diff(dim=0).abs().mean(0)))
