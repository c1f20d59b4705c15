"""How much a clip moves: the flow rating of CCDM Table 1, with the normalisations it may have meant."""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class FlowRating:
    """Size of the optical flow of a clip of F frames of H x W pixels.

    total_px: sum of the flow's length over all pixels of all F - 1 pairs, in pixels.
    mean_px: its mean, in pixels a frame.
    mean_over_diagonal: 100 mean / image diagonal, in percent; comparable between frame sizes.
    mean_over_max: 100 mean / largest length in the clip, in percent.
    per_frame: mean length of each pair, F - 1 numbers, in pixels.

    CCDM normalises total and mean without saying how, so both common ways are given.
    """

    total_px: float
    mean_px: float
    mean_over_diagonal: float
    mean_over_max: float
    per_frame: tuple[float, ...]


def flow_rating(flow: torch.Tensor) -> FlowRating:
    """Rate a flow (F - 1, 2, H, W) in pixels; the published rating is that of `farneback_flow`."""
    if flow.ndim != 4 or flow.shape[1] != 2:
        raise ValueError(f"Flow is {tuple(flow.shape)}, expected (frames - 1, 2, height, width).")
    length = flow.double().norm(dim=1)  # F-1 H W
    mean = float(length.mean())
    largest = float(length.max())
    return FlowRating(
        total_px=float(length.sum()),
        mean_px=mean,
        mean_over_diagonal=100 * mean / math.hypot(*flow.shape[-2:]),
        mean_over_max=100 * mean / largest if largest > 0 else 0.0,
        per_frame=tuple(length.mean(dim=(1, 2)).tolist()),
    )
