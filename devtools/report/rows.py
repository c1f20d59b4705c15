"""What the report is made of: experiments, which make clips, and rows, which compare two of their sides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Figures = Mapping[str, Mapping[str, float]]  # side -> column -> figure of one seed


@dataclass(frozen=True)
class Made:
    """What one seed of an experiment gave: figures, and a strip of frames (H, W, 3) in 0..1 for each side."""

    figures: Figures
    strips: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """Clips that several rows look at.

    version: to be changed with the code that decides the figures; old results are then not used again.
    needs: what has to be there, name -> file in the demo's folder. seeds: how many, quick and in full.
    seconds: of one seed on one core, and `before` once, roughly. settings: quick -> all that decides the
    figures besides. prepare: context -> what `measure(ready, seed)` takes; called only when there is work.
    curve: sides in order and columns to be drawn over them, or nothing.
    """

    name: str
    version: str
    needs: Mapping[str, str]
    seeds: tuple[int, int]
    seconds: float
    prepare: Callable
    measure: Callable[[object, int], Made]
    settings: Callable[[bool], dict] = lambda quick: {}
    before: float = 0.0
    curve: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    def count(self, quick: bool) -> int:
        """Number of seeds, which are 0, 1, 2, ..."""
        return self.seeds[0 if quick else 1]


@dataclass(frozen=True)
class Row:
    """One claim: `first` minus `second` of a column of an experiment should have the sign `expect`.

    expect: 1 higher, -1 lower, 0 no claim: told beside the others. figure: what the paper reports, in words.
    """

    name: str
    paper: str
    claim: str
    how: str
    figure: str
    experiment: str
    column: str
    first: str
    second: str
    expect: int
    unit: str = ""

    def values(self, figures: Sequence[Figures]) -> tuple[list[float], list[float]]:
        """Figures of both sides, one a seed, from those of all seeds; seeds without one are left out."""
        pairs = [tuple(one.get(side, {}).get(self.column, math.nan) for side in (self.first, self.second))
                 for one in figures]  # fmt: skip
        kept = [pair for pair in pairs if all(math.isfinite(value) for value in pair)]
        return [a for a, _ in kept], [b for _, b in kept]
