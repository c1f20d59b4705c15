"""What frames are matched by: a guide, made comparable between flickering frames, as a pyramid.

Guides are float32 `(F, C, H, W)` on a scale where 255 is black to white.
"""

import math

import torch
import torch.nn.functional as F

from .attention import box_mean

COARSEST = 20  # pixels of the shorter side on the coarsest level, at least
CONTRAST = 50.0  # standard deviation of a normalised guide
BLUR = 13  # pixels; what changes more slowly than this over the picture may be flicker, and counts little:
SLOW = 0.1  # enough to tell plain things of different colour apart
FLATTEST = 1.0  # grey levels; a frame of less contrast is not stretched further

Pyramid = tuple[torch.Tensor, ...]  # coarsest first, each (F, C, h, w)


def as_planes(frames: torch.Tensor) -> torch.Tensor:
    """Host images (F, H, W, C) as float32 (F, C, H, W), the range kept."""
    return frames.movedim(-1, 1).float().contiguous()


def plain(frames: torch.Tensor) -> torch.Tensor:
    """A clean guide as it is: (F, C, H, W) in 0..1 -> grey levels, colour only (no alpha)."""
    return frames[:, :3] * 255


def normalise(frames: torch.Tensor) -> torch.Tensor:
    """A flickering frame as its own guide: (F, C, H, W) in 0..1 -> zero-mean grey levels, no alpha.

    Each frame's channels get the same mean and deviation, which undoes flicker of gain and offset; then most
    of what varies slowly over the picture is taken out, which undoes flicker in patches of light.
    """
    guide = frames[:, :3] * 255
    deviation, mean = torch.std_mean(guide, dim=(2, 3), keepdim=True, correction=0)
    guide = (guide - mean) * (CONTRAST / deviation.clamp_min(FLATTEST))
    slow = guide.flatten(0, 1)
    for _ in range(2):
        slow = box_mean(slow, BLUR)
    return guide - (1 - SLOW) * slow.view_as(guide)


def level_count(height: int, width: int) -> int:
    """Levels of the pyramid of an H x W frame; 1 for frames too small to be halved."""
    return 1 + int(math.log2(max(1, min(height, width) / COARSEST)))


def pyramid(guide: torch.Tensor) -> Pyramid:
    """Guides (F, C, H, W) halved by averaging, coarsest first; odd sides round up."""
    levels = [guide]
    for _ in range(level_count(*guide.shape[-2:]) - 1):
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True, count_include_pad=False))
    return tuple(reversed(levels))
