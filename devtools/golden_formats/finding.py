"""What a checker of golden files yields: one compared quantity, its measure and its bound."""

import math
from typing import NamedTuple

import torch

BOUND = 1e-4  # max|d| / max|ref| in fp32, where the format's page gives no other


class Finding(NamedTuple):
    """One compared quantity: its name in the file, its measure (max|d| / max|ref|), the measure's bound."""

    name: str
    measure: float
    bound: float = BOUND

    @property
    def strain(self) -> float:
        """The measure in parts of its bound, to find the worst of several."""
        return self.measure / max(self.bound, 1e-300)

    @property
    def holds(self) -> bool:
        """Whether the measure is a number within the bound."""
        return math.isfinite(self.measure) and self.measure <= self.bound


def relative(ours, reference) -> float:
    """max|ours - reference| / max|reference|; infinite when the shapes differ."""
    ours, reference = (torch.as_tensor(value, dtype=torch.float64) for value in (ours, reference))
    if ours.shape != reference.shape:
        return math.inf
    return float((ours - reference).abs().max() / reference.abs().max().clamp_min(1e-300))
