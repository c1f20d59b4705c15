"""Regions of a clip: a window of one size that follows something, cut out, worked on, and put back.

A window may lie between pixels, so that what it follows stays still in it. Its crops are resampled to a
working size that is a multiple of 8. Windows on whole pixels at scale 1 are cut and put back exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import Box, guide_scale, union
from .tracks import FaceTrack

MULTIPLE = 8  # pixels a latent
RING = 0.3  # of what is pasted, from its edge inwards: where colours are matched


@dataclass(frozen=True)
class Region:
    """A window that moves over some frames of a clip.

    first: its first frame; corners: (n, 2) left and top at each of n frames, float pixels; extent: (width,
    height) of the window in pixels of the frame; work: (width, height) that its crops are made at, multiples
    of 8; areas: (n, 4) boxes in the frame that are put back; size: (width, height) of the frame; count:
    frames of the clip.
    """

    first: int
    corners: np.ndarray
    extent: tuple[float, float]
    work: tuple[int, int]
    areas: np.ndarray
    size: tuple[int, int]
    count: int

    @property
    def frames(self) -> range:
        """The frames of the clip that it covers."""
        return range(self.first, self.first + len(self.corners))

    @property
    def scale(self) -> float:
        """How much its crops are enlarged."""
        return self.work[0] / self.extent[0]

    @property
    def exact(self) -> bool:
        """Whether crops are plain parts of frames."""
        return self.extent == self.work and bool((self.corners == self.corners.round()).all())

    def window(self, place: int) -> Box:
        """The window at the `place`-th of its frames."""
        left, top = map(float, self.corners[place])
        return Box(left, top, left + self.extent[0], top + self.extent[1])


@dataclass(frozen=True)
class CropPlan:
    """How a track becomes a region.

    tracked: the window follows the face; else one window holds it in all frames. factor: size of the window
    in face boxes. guide, most: pixels that the window's shorter side is enlarged to, and its longer one at
    most; guide 0 = never enlarged. paste: size of what is put back, in face boxes. Raises ValueError.
    """

    tracked: bool = True
    factor: float = 3.0
    guide: int = 512
    most: int = 512
    paste: float = 2.0

    def __post_init__(self):
        """Check the numbers."""
        if not (self.factor >= 1 and self.paste > 0 and self.guide >= 0 and self.most >= self.guide):
            raise ValueError(
                f"Crop: factor {self.factor:g}, paste {self.paste:g}, guide {self.guide}, most {self.most}; "
                "expected a factor of at least 1, a paste above 0, and guide no larger than most"
            )


def plan_region(track: FaceTrack, size: tuple[int, int], count: int, plan: CropPlan) -> Region:
    """The region of a track in a clip of `count` frames of `size` (width, height).

    The window's size is that of the track's largest box times the factor; it is moved into the frame where
    the face is near a border. Raises ValueError when the frame holds no window of 8x8 pixels.
    """
    boxes = (
        track.boxes
        if plan.tracked
        else np.repeat([union(np.r_[track.boxes, track.raw])], len(track.boxes), 0)
    )
    largest = (boxes[:, 2:] - boxes[:, :2]).max(0)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    off = np.maximum(track.raw[:, 2:] - centres, centres - track.raw[:, :2]).max(0)  # raw boxes stay inside
    wanted = np.minimum(np.maximum(largest * plan.factor, 2 * off), size)
    scale = guide_scale(tuple(wanted), plan.guide, plan.most) if plan.guide else 1.0
    work, extent = _working_size(wanted, scale, size)
    corners = (centres - np.array(extent) / 2).clip(0, np.array(size) - extent)
    if scale == 1.0 and not plan.tracked:
        corners = corners.round()
    halves = (track.boxes[:, 2:] - track.boxes[:, :2]) * plan.paste / 2
    middles = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    low = np.maximum(middles - halves, corners)
    high = np.minimum(middles + halves, corners + extent)
    return Region(track.first, corners, extent, work, np.concatenate([low, high], 1), size, count)


def _working_size(wanted, scale: float, size) -> tuple[tuple[int, int], tuple[float, float]]:
    """Working size in multiples of 8, near `wanted` times `scale`, and the window that has just this size."""
    work, extent = [], []
    for length, limit in zip(wanted, size, strict=True):
        cells = max(round(float(length) * scale / MULTIPLE), 1)
        if cells * MULTIPLE / scale > limit:
            cells = int(limit * scale + 1e-6) // MULTIPLE
        if cells == 0:
            raise ValueError(f"The frames are {size[0]}x{size[1]}, a region needs at least 8x8 pixels")
        work.append(cells * MULTIPLE)
        extent.append(min(cells * MULTIPLE / scale, float(limit)))
    return (work[0], work[1]), (extent[0], extent[1])


def cut(images: Tensor, region: Region, report: Callable[[int, int], None] | None = None) -> Tensor:
    """The region's crops (n, H, W, C) from images (F, h, w, C), float 0..1; bicubic between pixels.

    report(done, total): called after each frame, may raise to stop. Raises ValueError when the images are
    not of the region's clip.
    """
    check_images(images, region)
    crops = []
    for place, frame in enumerate(region.frames):
        box = region.window(place)
        if region.exact:
            left, top = int(box.left), int(box.top)
            crops.append(images[frame, top : top + region.work[1], left : left + region.work[0]])
        else:
            picture = images[frame].float().movedim(-1, 0)[None]
            crops.append(resampled(picture, box, region.work)[0].movedim(0, -1))
        if report is not None:
            report(len(crops), len(region.frames))
    return torch.stack(crops)


def check_images(images: Tensor, region: Region) -> None:
    """Raise ValueError unless images (F, H, W, C) are of the region's clip."""
    found = len(images), (images.shape[2], images.shape[1])
    if found != (region.count, region.size):
        raise ValueError(
            f"The images are {found[0]} frames of {found[1][0]}x{found[1][1]}, the region was made for "
            f"{region.count} frames of {region.size[0]}x{region.size[1]}"
        )


def resampled(picture: Tensor, box: Box, size: tuple[int, int]) -> Tensor:
    """The part of a picture (1, C, h, w) under a box, (1, C, *size reversed); outside it repeats its edge.

    Where it shrinks, the picture is reduced first, which keeps fine detail from turning into patterns.
    """
    cells = picture.shape[3], picture.shape[2]
    shrink = [min(n / length, 1.0) for n, length in zip(size, box.size, strict=True)]
    if min(shrink) < 0.95:
        smaller = [max(round(n * s), 1) for n, s in zip(cells, shrink, strict=True)]
        picture = F.interpolate(picture, smaller[::-1], mode="bicubic", antialias=True)
        x, y = (s / n for s, n in zip(smaller, cells, strict=True))
        box, cells = Box(box.left * x, box.top * y, box.right * x, box.bottom * y), smaller
    axes = []
    for low, length, n, limit in zip(box[:2], box.size, size, cells, strict=True):
        places = low + (torch.arange(n, dtype=torch.float64) + 0.5) * length / n  # edge coordinates
        axes.append((2 * places / limit - 1).to(picture))
    grid = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="ij")[::-1], -1)[None]  # 1 H W (x, y)
    found = F.grid_sample(picture, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return found.clamp(0, 1)


def edge_rings(region: Region) -> Tensor:
    """Where the areas of a region's crops end: (n, H, W) bool at the working size, the outer RING of each."""
    size, scale = region.work, np.array(region.work) / np.array(region.extent)
    x, y = torch.arange(size[0])[None, :] + 0.5, torch.arange(size[1])[:, None] + 0.5
    rings = []
    for corner, area in zip(region.corners, region.areas, strict=True):
        low, high = (area[:2] - corner) * scale, (area[2:] - corner) * scale
        middle, half = (low + high) / 2, (high - low) / 2
        # 1 on the area's edge, 0 in its middle
        out = torch.maximum((x - middle[0]).abs() / half[0], (y - middle[1]).abs() / half[1])
        rings.append((out <= 1) & (out >= 1 - RING))
    return torch.stack(rings)


def match_colours(made: Tensor, original: Tensor, region: Region, amount: float = 1.0) -> Tensor:
    """`made` with mean and spread of each channel moved to those of `original`; both (n, H, W, C) in 0..1.

    They are a region's crops. Measured where they will meet the frame, near the edge of what is pasted, since
    inside they may well differ; and once over all frames, so it adds no flicker. The spread is changed by at
    most a half. Where fewer than two pixels are there to measure, `made` comes back as it is.
    """
    if amount == 0:
        return made
    ring = edge_rings(region)
    if int(ring.sum()) < 2:
        return made
    ours, theirs = made[ring], original[ring].to(made)  # pixels x C
    gain = (theirs.std(0) / ours.std(0).clamp_min(1e-4)).clamp(0.5, 1.5)
    matched = (made - ours.mean(0)) * gain + theirs.mean(0)
    return (made + amount * (matched - made)).clamp(0, 1)
