"""Where a clip is cut: frames that the one before cannot explain, however it is moved and lit."""

from collections.abc import Sequence
from statistics import median

import torch
import torch.nn.functional as F

from .attention import Attention, find_near
from .guides import as_planes

THUMBNAIL = 32  # pixels of the shorter side, about
UNEXPLAINED = 0.7  # of a frame's variance: fast real footage leaves up to 0.55, hard cuts 0.88 and more
SUDDEN, AROUND = 1.3, 4  # times the median of so many frames before and after
LOOK = Attention(patch=7)


def _thumbnail(frame: torch.Tensor) -> torch.Tensor:
    """A frame (H, W, C) as (1, C, h, w), each channel with mean 0 and deviation 1 (a flat one stays 0)."""
    planes = as_planes(frame[None, ..., :3])
    planes = F.avg_pool2d(
        planes, max(1, min(planes.shape[-2:]) // THUMBNAIL), ceil_mode=True, count_include_pad=False
    )
    deviation, mean = torch.std_mean(planes, dim=(2, 3), keepdim=True, correction=0)
    return (planes - mean) / deviation.clamp_min(1 / 255)


def find_cuts(frames: Sequence[torch.Tensor], report=None) -> tuple[int, ...]:
    """The frames that begin a new scene, in order, without frame 0.

    frames: a tensor (F, H, W, C) in 0..1, or anything with a length that gives such frames by index; each is
    read once, and only two are kept. A frame begins a scene when patches of the one before, moved within a
    window, leave UNEXPLAINED of its variance, and SUDDEN times what is usual around it: so noise alone, which
    nothing explains, makes no cuts. report(done, total): called after each frame.
    """
    left, before = [], None  # left[i]: what frame i does not explain of frame i + 1
    for i in range(len(frames)):
        now = _thumbnail(frames[i])
        if before is not None:
            left.append(float(find_near(now, before, LOOK).mean()))
        before = now
        if report is not None:
            report(i + 1, len(frames))
    return tuple(i + 1 for i in range(len(left)) if left[i] > max(UNEXPLAINED, SUDDEN * _usual(left, i)))


def _usual(values: list[float], place: int) -> float:
    """Median of the values around one, without it; 0 where there are none."""
    near = values[max(0, place - AROUND) : place] + values[place + 1 : place + 1 + AROUND]
    return median(near) if near else 0.0


def scene_of(frame: int, cuts: Sequence[int], frames: int) -> tuple[int, int]:
    """First frame of the scene that a frame lies in, and the first one after it."""
    start = max((cut for cut in cuts if cut <= frame), default=0)
    return start, min((cut for cut in cuts if cut > frame), default=frames)
