"""Crops put back into their clip: soft edges, and a clear border between faces that touch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .boxes import Box, union
from .regions import Region, check_images, resampled
from .tiles import Tile

SHARPNESS = 16.0  # of the border between two faces that touch: how soon a pixel is all of the nearer one


def paste(
    images: Tensor,
    parts: Sequence[tuple[Region, Tensor]],
    feather: float = 0.0,
    masks=None,
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Images (F, H, W, C) with the crops of regions put back; frames without a region stay bit for bit.

    parts: regions, each with its crops (n, h, w, C) at its working size. feather: pixels of the frame over
    which a part fades in from the edge of its area; none where the area ends at the frame's edge. masks:
    (F, H, W) in 0..1, one for all frames, or None: what of the frame may change. Where areas overlap, each
    pixel goes to the face whose middle is nearer, in parts of its area. report(done, total): called after
    each frame that changes, may raise to stop. Raises ValueError for crops or masks of another size.
    """
    for region, crops in parts:
        check_crops(images, region, crops)
    masks = whole_masks(masks, images)
    result = images.clone()
    changed = sorted({frame for region, _ in parts for frame in region.frames})
    for done, frame in enumerate(changed, 1):
        here = [(r, c[frame - r.first], frame - r.first) for r, c in parts if frame in r.frames]
        part = _pixels(union([region.window(place) for region, _, place in here]), here[0][0].size)
        mask = None if masks is None else part.of(masks[frame])
        window = result[frame, part.top : part.bottom, part.left : part.right]
        window.copy_(_composed(window, here, part, feather, mask))
        if report is not None:
            report(done, len(changed))
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


def check_crops(images: Tensor, region: Region, crops: Tensor) -> None:
    """Raise ValueError unless crops (n, h, w, C) are those of a region of images (F, H, W, C)."""
    check_images(images, region)
    wanted = (len(region.corners), region.work[1], region.work[0], images.shape[3])
    if tuple(crops.shape) != wanted:
        raise ValueError(f"The crops are {tuple(crops.shape)}, this region's are {wanted}")


def _pixels(box: Box, size: tuple[int, int]) -> Tile:
    """The whole pixels of a frame of (width, height) that a box touches."""
    left, top = max(int(box.left // 1), 0), max(int(box.top // 1), 0)
    right, bottom = min(-int(-box.right // 1), size[0]), min(-int(-box.bottom // 1), size[1])
    return Tile(top, left, bottom, right)


def _composed(frame: Tensor, here: list, part: Tile, feather: float, mask: Tensor | None) -> Tensor:
    """Part of a frame (h, w, C) with all crops (region, (h, w, C), place) that lie in it."""
    opacity, nearness, colours = [], [], []
    for region, crop, place in here:
        area = Box(*map(float, region.areas[place]))
        opacity.append(_opacity(area, region.size, part, feather).to(frame))
        nearness.append(_nearness(area, part).to(frame))
        colours.append(_in_frame(crop, region, place, part, frame))
    opacity = torch.stack(opacity)  # parts x H x W
    share = torch.softmax(torch.stack(nearness) + opacity.clamp_min(1e-12).log(), 0)
    alpha = opacity.amax(0) if mask is None else opacity.amax(0) * mask.to(frame)
    mixed = (share[..., None] * torch.stack(colours)).sum(0) if len(here) > 1 else colours[0]
    alpha = alpha[..., None]
    return torch.where(alpha == 1, mixed, torch.where(alpha == 0, frame, frame + alpha * (mixed - frame)))


def _in_frame(crop: Tensor, region: Region, place: int, part: Tile, frame: Tensor) -> Tensor:
    """A crop at its place in a part of a frame; outside the window there is the frame itself."""
    box, whole = region.window(place), frame.clone()
    own = _pixels(box, region.size)
    rows = slice(own.top - part.top, own.bottom - part.top)
    columns = slice(own.left - part.left, own.right - part.left)
    if region.exact:
        whole[rows, columns] = crop.to(frame)
        return whole
    x, y = region.work[0] / region.extent[0], region.work[1] / region.extent[1]
    edges = (own.left - box.left) * x, (own.top - box.top) * y
    inner = Box(*edges, (own.right - box.left) * x, (own.bottom - box.top) * y)
    picture = crop.float().movedim(-1, 0)[None]
    patch = resampled(picture, inner, (own.right - own.left, own.bottom - own.top))[0].movedim(0, -1)
    whole[rows, columns] = patch.to(frame)
    return whole


def _axes(part: Tile) -> tuple[Tensor, Tensor]:
    """Pixel centres of a part of a frame: x (1, w) and y (h, 1)."""
    return torch.arange(part.left, part.right)[None] + 0.5, torch.arange(part.top, part.bottom)[:, None] + 0.5


def _opacity(area: Box, size: tuple[int, int], part: Tile, feather: float) -> Tensor:
    """1 inside the area, 0 outside, a smooth step over `feather` pixels inside its edge; (h, w)."""
    x, y = _axes(part)
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


def _nearness(area: Box, part: Tile) -> Tensor:
    """Log-weight of a part beside others, larger near the area's middle; (h, w)."""
    (x, y), (cx, cy), (width, height) = _axes(part), area.centre, area.size
    across, down = 2 * (x - cx) / max(width, 1), 2 * (y - cy) / max(height, 1)
    return -SHARPNESS * (across**2 + down**2)
