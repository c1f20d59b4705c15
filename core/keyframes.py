"""Keyframes: images that the user fixes at frames of a clip, and how far each reaches in time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

EASINGS = ("linear", "smooth", "sharp")


@dataclass(frozen=True, eq=False)
class Keyframe:
    """An image (H, W, 3) in 0..1 for one frame of a clip.

    `frame` counts from 0, negative ones from the end (-1 is the last). `strength` 0..1 is how much the image
    holds at its frame. `easing` is how that falls off in time: "linear"; "smooth", along a half cosine;
    "sharp", with the square, so that neighbours are soon free. Raises ValueError for anything else.
    """

    image: Tensor
    frame: int
    strength: float = 1.0
    easing: str = "linear"

    def __post_init__(self):
        """Check what can be checked without the clip."""
        shape = tuple(self.image.shape)
        if len(shape) != 3 or shape[2] != 3:
            also = "; use 'Split Image with Alpha' first" if shape[2:] == (4,) else ""
            raise ValueError(f"A keyframe image must be height x width x 3 colours, got {shape}{also}")
        if not 0.0 <= self.strength <= 1.0:
            raise ValueError(f"Keyframe strength is {self.strength:g}, expected 0 to 1")
        if self.easing not in EASINGS:
            raise ValueError(f"Keyframe easing is '{self.easing}', expected one of {', '.join(EASINGS)}")


@dataclass(frozen=True, eq=False)
class Keyframes:
    """Keyframes of one clip in the order given; `placed` puts them in order of time."""

    items: tuple[Keyframe, ...] = ()

    def plus(self, *more: Keyframe) -> Keyframes:
        """These and `more`."""
        return Keyframes((*self.items, *more))

    def placed(self, frames: int, size: tuple[int, int] | None = None) -> Keyframes:
        """The same for a clip of `frames` frames: indices from 0, in order of time.

        `size` is the clip's (width, height) in pixels. Raises ValueError when there is no keyframe, an index
        is out of range, a frame has two keyframes, or an image has another size than the clip or than the
        others.
        """
        self.check_sizes(size)
        placed = [_placed(item, frames) for item in self.items]
        placed = tuple(placed[i] for i in self.order(frames))
        for before, after in zip(placed, placed[1:], strict=False):
            if before.frame == after.frame:
                raise ValueError(f"Frame {after.frame} has two keyframes, expected one a frame")
        return Keyframes(placed)

    def order(self, frames: int) -> list[int]:
        """Places in `items` in order of time, for a clip of `frames` frames."""
        return sorted(range(len(self.items)), key=lambda i: self.items[i].frame % frames)

    def check_sizes(self, size: tuple[int, int] | None = None) -> None:
        """Raise ValueError when there is no keyframe, or one is not `size`.

        `size` is (width, height) in pixels; None is that of the first.
        """
        if not self.items:
            raise ValueError("There are no keyframes; connect at least one 'Keyframe'")
        what = "the first keyframe" if size is None else "the clip"
        width, height = size or _size(self.items[0])
        for item in self.items:
            if _size(item) != (width, height):
                raise ValueError(
                    f"The keyframe image for frame {item.frame} is {_size(item)[0]}x{_size(item)[1]}, "
                    f"{what} is {width}x{height}; use 'Upscale Image' first"
                )

    @property
    def frames(self) -> tuple[int, ...]:
        """The frame of each."""
        return tuple(item.frame for item in self.items)

    @property
    def images(self) -> Tensor:
        """All images, (K, H, W, 3) in 0..1; raises ValueError when their sizes differ."""
        self.check_sizes()
        return torch.stack([item.image for item in self.items])


def _size(item: Keyframe) -> tuple[int, int]:
    return item.image.shape[1], item.image.shape[0]


def _placed(item: Keyframe, frames: int) -> Keyframe:
    if not -frames <= item.frame < frames:
        raise ValueError(
            f"A keyframe is set for frame {item.frame}, the clip has frames 0 to {frames - 1} "
            f"(or -{frames} to -1 from the end)"
        )
    return replace(item, frame=item.frame % frames)


def keyframes_of_batch(images: Tensor, frames: Sequence[int], strength=1.0, easing="linear") -> Keyframes:
    """Keyframes of images (K, H, W, 3) in 0..1 at K frames; raises ValueError when the numbers differ."""
    if len(images) != len(frames):
        raise ValueError(f"There are {len(images)} keyframe images and {len(frames)} frames; give one each")
    pairs = zip(images, frames, strict=True)
    return Keyframes(tuple(Keyframe(image, frame, strength, easing) for image, frame in pairs))


def parse_frames(text: str) -> tuple[int, ...]:
    """Frame indices such as "0, 8, -1", parted by commas or spaces; empty text gives none.

    Raises ValueError that shows the entry which is no whole number.
    """
    entries = re.split(r"[\s,]+", text.strip(", \t\n")) if text.strip(", \t\n") else []
    for entry in entries:
        if not re.fullmatch(r"[+-]?\d+", entry):
            raise ValueError(f"Keyframe frames: expected whole numbers as in '0, 8, -1', got '{entry}'")
    return tuple(int(entry) for entry in entries)


def spread_frames(count: int, frames: int) -> tuple[int, ...]:
    """`count` frames spread evenly over a clip of `frames`, first and last included; one goes to frame 0.

    Raises ValueError when there are more than frames.
    """
    if count > frames:
        raise ValueError(f"There are {count} keyframe images for {frames} frames; give at most one a frame")
    return tuple((i * (frames - 1) + (count - 1) // 2) // max(count - 1, 1) for i in range(count))


def falloff(keyframes: Keyframes, frames: int, reach: float) -> Tensor:
    """Weight of each keyframe at each frame of the clip, (K, F) float32 in 0..1, for `placed` keyframes.

    A keyframe weighs its strength at its own frame and falls, by its easing, to 0 at `reach` + 1 frames from
    it, or at the next keyframe where that is nearer: so no keyframe acts at another's frame, and with reach
    enough, "linear" or "smooth", and strength 1 the weights between two keyframes sum to 1. Weights of one
    frame never sum to more.
    """
    places = torch.tensor(keyframes.frames, dtype=torch.float64)
    gaps = places.diff()
    wide = torch.full((1,), float("inf"), dtype=torch.float64)
    offset = torch.arange(frames, dtype=torch.float64) - places[:, None]  # K x F
    gap = torch.where(offset < 0, torch.cat((wide, gaps))[:, None], torch.cat((gaps, wide))[:, None])
    near = (1 - offset.abs() / gap.clamp(max=reach + 1)).clamp(min=0)
    weights = torch.stack(
        [item.strength * _ease(row, item.easing) for item, row in zip(keyframes.items, near, strict=True)]
    )
    return (weights / weights.sum(0).clamp(min=1)).float()


def _ease(near: Tensor, easing: str) -> Tensor:
    if easing == "smooth":
        return (1 - torch.cos(torch.pi * near)) / 2
    return near.square() if easing == "sharp" else near


class Neighbours(NamedTuple):
    """For each frame of a clip: the keyframes around it, as places in the list, and the right one's share."""

    left: Tensor  # (F,) int64
    right: Tensor  # (F,) int64
    share: Tensor  # (F,) float32, 0 at the left keyframe, 1 at the right


def neighbours(places: Sequence[int], frames: int) -> Neighbours:
    """Left and right keyframe of each frame, for keyframe `places` in order of time.

    Linear shares between them; before the first and after the last keyframe both are the same one, share 0.
    """
    at, when = torch.tensor(places), torch.arange(frames)
    left = (torch.searchsorted(at, when, right=True) - 1).clamp(min=0)
    right = torch.searchsorted(at, when).clamp(max=len(places) - 1)
    gap = (at[right] - at[left]).clamp(min=1)
    share = (when - at[left]).clamp(min=0) / gap * (left != right)
    return Neighbours(left, right, share.float())
