"""Tiles over a frame: where they lie, how they are weighed, and how what was made in each becomes one again.

Sizes here are (height, width) in cells, of latents or of pixels alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

WEIGHTS = ("gaussian", "linear")
SPREAD = 0.25  # deviation of the Gaussian weight, in parts of the tile


class Tile(NamedTuple):
    """A rectangle of cells, ends outside."""

    top: int
    left: int
    bottom: int
    right: int

    def of(self, x: Tensor) -> Tensor:
        """Its part of (..., H, W), a view."""
        return x[..., self.top : self.bottom, self.left : self.right]


def spread(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Origins of the fewest tiles that cover `length` with at least `overlap` in common, evenly spread.

    Neighbours share more than `overlap` rather than one of them hanging over the edge or being narrower.
    Raises ValueError unless 0 <= overlap < tile.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap is {overlap}, expected 0 to {tile - 1}, less than the tile")
    if length <= tile:
        return (0,)
    count = math.ceil((length - overlap) / (tile - overlap))
    return tuple(int(i * (length - tile) / (count - 1)) for i in range(count))


def weights(height: int, width: int, kind: str) -> Tensor:
    """Weight of each cell of a tile, (height, width) float32 in 0..1, largest in the middle, never zero.

    "gaussian" falls off smoothly, "linear" as a pyramid. Raises ValueError for another kind.
    """
    if kind not in WEIGHTS:
        raise ValueError(f"Tile weights are '{kind}', expected one of {', '.join(WEIGHTS)}")
    axes = []
    for length in (height, width):
        place = (torch.arange(length) + 0.5) / length - 0.5  # -0.5 to 0.5
        axes.append(torch.exp(-0.5 * (place / SPREAD) ** 2) if kind == "gaussian" else 1 - 2 * place.abs())
    return axes[0][:, None] * axes[1][None, :]


@dataclass(frozen=True)
class Tiling:
    """Tiles of up to `tile` cells a side over a frame of `height` x `width`, and their weights' kind."""

    height: int
    width: int
    tile: int
    overlap: int
    kind: str = "gaussian"

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """Row by row."""
        rows, columns = (spread(n, self.tile, self.overlap) for n in (self.height, self.width))
        high, wide = min(self.tile, self.height), min(self.tile, self.width)
        return tuple(Tile(y, x, y + high, x + wide) for y in rows for x in columns)

    def merge(self, parts: Iterable[Tensor]) -> Tensor:
        """One (..., H, W) from what each tile gives, in the order of `tiles`; read one after the other.

        Where tiles overlap it is their weighted mean. A single tile's part is returned as it is.
        """
        tiles, total, whole = self.tiles, None, None
        for tile, part in zip(tiles, parts, strict=True):
            if len(tiles) == 1:
                return part
            weight = weights(tile.bottom - tile.top, tile.right - tile.left, self.kind).to(part)
            if whole is None:
                whole = part.new_zeros(*part.shape[:-2], self.height, self.width)
                total = part.new_zeros(self.height, self.width)
            tile.of(whole).add_(part * weight)
            tile.of(total).add_(weight)
        return whole.div_(total)


def padded_tiles(size: tuple[int, int], tile: int, padding: int) -> tuple[tuple[Tile, Tile], ...]:
    """(what is kept, what is sampled) of the tiles that the published workflow takes one after the other.

    What is kept are the cells of a plain grid. What is sampled is that with `padding` around it, grown inside
    the frame towards the shape of (tile + padding) rounded up to 8: first half to the far side, then to the
    near one, then to the far one. Independent tiles like these are what `Tiling` replaces; they serve to
    compare.
    """
    found = []
    for row in range(math.ceil(size[0] / tile)):
        for column in range(math.ceil(size[1] / tile)):
            top, left = row * tile, column * tile
            kept = Tile(top, left, min(top + tile, size[0]), min(left + tile, size[1]))
            found.append((kept, _sampled(kept, size, padding)))
    return tuple(found)


def _sampled(kept: Tile, size: tuple[int, int], padding: int) -> Tile:
    top, left = max(kept.top - padding, 0), max(kept.left - padding, 0)
    bottom, right = min(kept.bottom + padding, size[0]), min(kept.right + padding, size[1])
    side = max(bottom - top, right - left)  # the shape is a square
    (top, bottom), (left, right) = _grown(top, bottom, side, size[0]), _grown(left, right, side, size[1])
    return Tile(top, left, bottom, right)


def _grown(start: int, end: int, length: int, limit: int) -> tuple[int, int]:
    end = min(end + (length - (end - start)) // 2, limit)
    start = max(start - (length - (end - start)), 0)
    return start, min(end + length - (end - start), limit)
