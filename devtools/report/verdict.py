"""From the figures of two sides to a verdict: a claim holds only where its interval excludes no effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..pack import register_pack
from .rows import Figures, Row

FEWEST = 6  # seeds: of fewer, that all agree happens by chance in one of sixteen cases or more
HOLDS, OPEN, OPPOSITE = "holds", "does not hold", "the opposite holds"
BESIDE, FEW, MISSING = "told beside", "too few seeds", "not measured"


@dataclass(frozen=True)
class Result:
    """A row with its figures.

    means: of both sides; mean, low, high, spread: of the paired difference, spread its deviation.
    verdict: one of the words above. reason: why a row was not measured, in one sentence.
    """

    row: Row
    verdict: str
    seeds: int = 0
    means: tuple[float, float] = (0.0, 0.0)
    mean: float = 0.0
    low: float = 0.0
    high: float = 0.0
    spread: float = 0.0
    reason: str = ""


def judge(row: Row, figures: Sequence[Figures], missing: str = "") -> Result:
    """The result of a row from the figures of all seeds; `missing` says why there are none."""
    register_pack()
    import numpy as np
    from choreographer.core.metrics.interval import interval

    first, second = row.values(figures)
    if missing or not first:
        return Result(row, MISSING, reason=missing or f"no seed gave a figure of '{row.column}'")
    means = (float(np.mean(first)), float(np.mean(second)))
    if len(first) < 2:
        return Result(row, FEW, 1, means, means[0] - means[1], float("-inf"), float("inf"))
    gap = np.subtract(first, second)
    mean, low, high = interval(gap)
    judged = verdict(row, low, high, len(gap))
    return Result(row, judged, len(gap), means, mean, low, high, float(gap.std(ddof=1)))


def verdict(row: Row, low: float, high: float, seeds: int) -> str:
    """What an interval over so many seeds says of a row's claim: one of the words above."""
    if row.expect == 0:
        return BESIDE
    if seeds < FEWEST:
        return FEW
    if low <= 0 <= high:
        return OPEN
    return HOLDS if (low > 0) == (row.expect > 0) else OPPOSITE
