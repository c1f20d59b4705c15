"""What a checker of golden files yields: one compared quantity, its measure and its bound."""

import math
from typing import NamedTuple

import torch

BOUND = 1e-4  # max|d| / max|ref| in fp32, where the format's page gives no other


class Finding(NamedTuple):
    """One compared quantity: its name in the file, its measure (max|d| / max|ref|), the measure's bound.

    shown: a line of its own to print, for what is reached rather than equalled; see `reached`.
    """

    name: str
    measure: float
    bound: float = BOUND
    shown: str = ""

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


def reached(name: str, value: float, least: float, most: float = math.inf, unit: str = "") -> Finding:
    """A quantity with a goal instead of a reference; its measure is by how much the goal is missed."""
    missed = max(least - value, value - most, 0.0) if math.isfinite(value) else math.inf
    goal = f"at least {least:.4g}" if most == math.inf else f"{least:.4g} to {most:.4g}"
    verdict = "holds" if missed == 0 else "FAILS"
    return Finding(name, missed, 0.0, f"{name}: {value:.4g}{unit} (goal {goal}{unit})  {verdict}")
