"""How sure a mean is: the bootstrap's interval, widened for few values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, t

DRAWS = 10000
LEVEL = 0.95


def interval(values: Sequence[float], seed: int = 0, level: float = LEVEL) -> tuple[float, float, float]:
    """Mean of n values, and low and high end of its interval of that level; the same digits every time.

    The bootstrap's percentiles, "expanded" as by Hesterberg (2015, section 4.3): taken further out for small
    n, such that for a normal mean they agree with Student's t. Plain percentiles of six values hold the truth
    in 86 instead of 95 of a hundred cases. Raises ValueError for fewer than 2 values, or one not finite.
    """
    values = np.asarray(values, dtype=float)
    if values.size < 2 or not np.isfinite(values).all():
        raise ValueError(f"An interval needs at least 2 finite values, got {values.tolist()}.")
    n = len(values)
    draws = np.random.default_rng(seed).choice(values, (DRAWS, n)).mean(1)
    tail = norm.cdf(-((n / (n - 1)) ** 0.5) * t.ppf((1 + level) / 2, n - 1))
    low, high = np.quantile(draws, (tail, 1 - tail))
    return float(values.mean()), float(low), float(high)
