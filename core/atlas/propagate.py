"""Carry edits of some frames to the whole clip, through its atlas (StableVideo, Chai et al. 2023).

Each edited frame changes the layer pictures where it shows them; places that several frames show take the
median of their changes. To edit keyframes in turn, render what the ones so far give, edit the next frame of
that, and propagate both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..keyframes import Keyframes
from .model import Atlas, check_parts, resized

SHOWN = 0.25  # weight from which a frame has a say at a place of a picture
GROW = 2  # places by which changes reach into what no keyframe shows, so that seams do not fray


@torch.no_grad()
def propagate(
    atlas: Atlas,
    keyframes: Keyframes,
    images: Tensor,
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The layer pictures with the keyframes' edits, (layers, side, side, 3) in 0..1.

    keyframes: edited frames of the clip `images` (F, H, W, 3) in 0..1, each by its strength. report(done,
    total) after each. Raises ValueError for another clip than the atlas's, and as `Keyframes.placed`.
    """
    check_parts(atlas, None, images)
    height, width = atlas.size
    placed = keyframes.placed(atlas.frames, (width, height))
    changes = []
    for done, item in enumerate(placed.items, 1):
        change = item.strength * (item.image - images[item.frame])[..., :3]
        changes.append(atlas.gathered(item.frame, change.flatten(0, 1)))
        if report is not None:
            report(done, len(placed.items))
    made = []
    for layer, picture in enumerate(atlas.pictures):
        values = torch.stack([change[layer][0] for change in changes])  # K 3 side side
        seen = torch.stack([change[layer][1] > SHOWN for change in changes])[:, None]
        change = _median(values.where(seen, torch.nan))
        made.append(picture + _grown(change, seen.any(0)).movedim(0, -1))
    return torch.stack(made).clamp(0, 1)


def _median(values: Tensor) -> Tensor:
    """The median over the first axis without NaN; of an even count the mean of the two in the middle."""
    low, high = values.nanmedian(dim=0).values, -(-values).nanmedian(dim=0).values
    return (low + high) / 2


def _grown(change: Tensor, seen: Tensor) -> Tensor:
    """Changes (3, h, w) with what lies just outside filled from the places around; 0 further away."""
    values, weight = change.where(seen, 0.0), seen.float()
    for _ in range(GROW):
        total, count = (
            torch.nn.functional.avg_pool2d(part[None], 3, 1, 1)[0] for part in (values * weight, weight)
        )
        values = torch.where(weight > 0, values, total / count.clamp_min(1e-6))
        weight = (count > 0).float()
    return values


def enlarged(pictures: Tensor, factor: int) -> Tensor:
    """Layer pictures (L, h, w, C), larger for painting; `render` takes any size."""
    height, width = pictures.shape[1:3]
    return resized(pictures, ((height - 1) * factor + 1, (width - 1) * factor + 1))
