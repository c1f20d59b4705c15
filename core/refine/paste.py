"""Crops put back into their clip: soft edges, and a clear border between faces that touch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .boxes import Box
from .regions import Region, check_images, resampled

SHARPNESS = 16.0  # of the border between two faces that touch: how soon a pixel is all of the nearer one


def paste(images: Tensor, parts: Sequence[tuple[Region, Tensor]], feather: float = 0.0, masks=None) -> Tensor:
    """Images (F, H, W, C) with the crops of regions put back; frames without a region stay bit for bit.

    parts: regions, each with its crops (n, h, w, C) at its working size. feather: pixels of the frame over
    which a part fades in from the edge of its area; none where the area ends at the frame's edge. masks:
    (F, H, W) in 0..1, one for all frames, or None: what of the frame may change. Where areas overlap, each
    pixel goes to the face whose middle is nearer, in parts of its area. Raises ValueError for crops or masks
    of another size.
    """
    for region, crops in parts:
        _check_crops(images, region, crops)
    masks = whole_masks(masks, images)
    result = images.clone()
    for frame in sorted({frame for region, _ in parts for frame in region.frames}):
        here = [(r, c[frame - r.first], frame - r.first) for r, c in parts if frame in r.frames]
        result[frame] = _composed(images[frame], here, feather, None if masks is None else masks[frame])
    return result


def whole_masks(masks: Tensor | None, images: Tensor) -> Tensor | None:
    """Masks (F, H, W) of images (F, H, W, C), from as many or one for all; ValueError for other sizes."""
    if masks is None:
        return None
    if masks.ndim != 3 or len(masks) not in (1, len(images)) or masks.shape[1:] != images.shape[1:3]:
        raise ValueError(
            f"The mask is {tuple(masks.shape)}, the images need {tuple(images.shape[:3])}, or one for all"
        )
    return masks.expand(len(images), -1, -1)


def _check_crops(images: Tensor, region: Region, crops: Tensor) -> None:
    check_images(images, region)
    wanted = (len(region.corners), region.work[1], region.work[0], images.shape[3])
    if tuple(crops.shape) != wanted:
        raise ValueError(f"The crops are {tuple(crops.shape)}, this region's are {wanted}")


def _composed(frame: Tensor, here: list, feather: float, mask: Tensor | None) -> Tensor:
    """One frame (H, W, C) with all crops (region, (h, w, C), place) that lie in it."""
    height, width = frame.shape[:2]
    opacity, nearness, colours = [], [], []
    for region, crop, place in here:
        area = Box(*map(float, region.areas[place]))
        opacity.append(_opacity(area, region.size, feather).to(frame))
        nearness.append(_nearness(area, region.size).to(frame))
        colours.append(_in_frame(crop, region, place, frame))
    opacity = torch.stack(opacity)  # parts x H x W
    share = torch.softmax(torch.stack(nearness) + opacity.clamp_min(1e-12).log(), 0)
    alpha = opacity.amax(0) if mask is None else opacity.amax(0) * mask.to(frame)
    mixed = (share[..., None] * torch.stack(colours)).sum(0) if len(here) > 1 else colours[0]
    alpha = alpha[..., None]
    return torch.where(alpha == 1, mixed, torch.where(alpha == 0, frame, frame + alpha * (mixed - frame)))


def _in_frame(crop: Tensor, region: Region, place: int, frame: Tensor) -> Tensor:
    """A crop at its place in a frame-sized picture; outside the window there is the frame itself."""
    box, whole = region.window(place), frame.clone()
    left, top = max(int(box.left // 1), 0), max(int(box.top // 1), 0)
    right, bottom = min(-int(-box.right // 1), region.size[0]), min(-int(-box.bottom // 1), region.size[1])
    if region.exact:
        whole[top:bottom, left:right] = crop.to(frame)
        return whole
    x, y = region.work[0] / region.extent[0], region.work[1] / region.extent[1]
    inner = Box((left - box.left) * x, (top - box.top) * y, (right - box.left) * x, (bottom - box.top) * y)
    picture = crop.float().movedim(-1, 0)[None]
    patch = resampled(picture, inner, (right - left, bottom - top))[0].movedim(0, -1)
    whole[top:bottom, left:right] = patch.to(frame)
    return whole


def _axes(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pixel centres of a frame: x (1, W) and y (H, 1)."""
    return torch.arange(size[0])[None, :] + 0.5, torch.arange(size[1])[:, None] + 0.5


def _opacity(area: Box, size: tuple[int, int], feather: float) -> Tensor:
    """1 inside the area, 0 outside, a smooth step over `feather` pixels inside its edge; (H, W)."""
    x, y = _axes(size)
    steps = []
    for places, ends, limit in ((x, area[::2], size[0]), (y, area[1::2], size[1])):
        # an edge at the frame's own edge has nothing to fade into
        steps.append(_step(places - ends[0], feather if ends[0] > 0 else 0.0))
        steps.append(_step(ends[1] - places, feather if ends[1] < limit else 0.0))
    return steps[0] * steps[1] * steps[2] * steps[3]


def _step(distance: Tensor, feather: float) -> Tensor:
    if feather <= 0:
        return (distance > 0).float()
    t = (distance / feather).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _nearness(area: Box, size: tuple[int, int]) -> Tensor:
    """Log-weight of a part beside others, larger near the area's middle; (H, W)."""
    (x, y), (cx, cy), (width, height) = _axes(size), area.centre, area.size
    across, down = 2 * (x - cx) / max(width, 1), 2 * (y - cy) / max(height, 1)
    return -SHARPNESS * (across**2 + down**2)
