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
    """Flows, gone through once, that are rated meanwhile; only two numbers of each pair are kept.

    flow: (F - 1, 2, H, W), or anything that has a length and gives (2, H, W) a pair, in pixels; going through
    it raises ValueError for another shape.
    """

    def __init__(self, flow: torch.Tensor | PairFlows):
        """Nothing is rated yet."""
        self.flow, self.size = flow, (0, 0)
        self.sums: list[float] = []  # of each pair the sum of the pixels' lengths
        self.largest: list[float] = []  # and the largest of them

    def __len__(self) -> int:
        return len(self.flow)

    def __iter__(self) -> Iterator[torch.Tensor]:
        self.sums, self.largest = [], []
        for pair in self.flow:
            if pair.ndim != 3 or len(pair) != 2:
                shape = (len(self), *pair.shape)
                raise ValueError(f"Flow is {shape}, expected (frames - 1, 2, height, width).")
            length = pair.double().norm(dim=0)
            self.size = tuple(length.shape)
            self.sums.append(float(length.sum()))
            self.largest.append(float(length.max()))
            yield pair

    def rating(self) -> FlowRating:
        """The rating of what was gone through; raises ValueError for nothing."""
        total, largest, pixels = math.fsum(self.sums), max(self.largest), math.prod(self.size)
        mean = total / (len(self.sums) * pixels)
        return FlowRating(
            total_px=total,
            mean_px=mean,
            mean_over_diagonal=100 * mean / math.hypot(*self.size),
            mean_over_max=100 * mean / largest if largest > 0 else 0.0,
            per_frame=tuple(each / pixels for each in self.sums),
        )


def flow_rating(flow: torch.Tensor | PairFlows) -> FlowRating:
    """Rate a flow as `Rated` takes it; the published rating is that of Farneback's.

    Raises ValueError for a flow of another shape.
    """
    rated = Rated(flow)
    for _ in rated:
        pass
    return rated.rating()
