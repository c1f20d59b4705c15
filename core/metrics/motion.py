"""How much a clip moves: the flow rating of CCDM Table 1, with the normalisations it may have meant."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..optical_flow import PairFlows


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


class Rated:
    """Flows, gone through once, that are rated meanwhile; only the length of each pixel's flow is kept.

    flow: (F - 1, 2, H, W), or anything that has a length and gives (2, H, W) a pair, in pixels.
    """

    def __init__(self, flow: torch.Tensor | PairFlows):
        """Nothing is rated yet."""
        self.flow, self.length = flow, torch.zeros(0)

    def __len__(self) -> int:
        return len(self.flow)

    def __iter__(self) -> Iterator[torch.Tensor]:
        for number, pair in enumerate(self.flow):
            if pair.ndim != 3 or len(pair) != 2:
                shape = (len(self), *pair.shape)
                raise ValueError(f"Flow is {shape}, expected (frames - 1, 2, height, width).")
            if number == 0:
                self.length = torch.empty(len(self), *pair.shape[1:], dtype=torch.float64)
            self.length[number] = pair.double().norm(dim=0)
            yield pair

    def rating(self) -> FlowRating:
        """The rating of what was gone through."""
        length = self.length  # F-1 H W
        mean = float(length.mean())
        largest = float(length.max())
        return FlowRating(
            total_px=float(length.sum()),
            mean_px=mean,
            mean_over_diagonal=100 * mean / math.hypot(*length.shape[-2:]),
            mean_over_max=100 * mean / largest if largest > 0 else 0.0,
            per_frame=tuple(length.mean(dim=(1, 2)).tolist()),
        )


def flow_rating(flow: torch.Tensor | PairFlows) -> FlowRating:
    """Rate a flow as `Rated` takes it; the published rating is that of Farneback's."""
    rated = Rated(flow)
    for _ in rated:
        pass
    return rated.rating()
