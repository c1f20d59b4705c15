"""Prepare a picture of a subject: white background, the subject's box, a white square around it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..refine.boxes import Box, boxes_of_masks, parse_boxes, union

ENCODER_SIZE = 224  # pixels a side that CLIP's picture encoders take
NO_MASK = (64, 64)  # height and width of the mask of one value that ComfyUI gives an opaque picture


@dataclass(frozen=True)
class Prepared:
    """A prepared picture, 3 x S x S in 0..1 with S the longer side of the box, and what was done to it."""

    image: Tensor
    box: Box
    report: str


def prepare(
    image: Tensor, mask: Tensor | None = None, box: Box | None = None, margin: float = 0.0
) -> Prepared:
    """A picture H x W x 3, or x 4 with alpha, in 0..1, as image prompts are trained on.

    mask: H x W, 1 on the subject; what lies outside it, and what is transparent, becomes white. box: left,
    top, right, bottom in pixels; without one that of the mask or of the alpha, without these the whole
    picture. margin: how much wider and higher the box is taken, 0.1 for a tenth. Raises ValueError for
    another shape, an empty mask and a box without pixels.
    """
    height, width = image.shape[:2]
    if image.ndim != 3 or image.shape[2] not in (3, 4):
        raise ValueError(f"The picture is {tuple(image.shape)}, expected height x width x 3 or 4 channels")
    covers, said = _cover(image, mask)
    image = image[..., :3]
    if covers is not None:
        image = image * covers[..., None] + (1 - covers[..., None])
    box, where = _box(box, covers, (width, height))
    box = box.grown(1 + margin).inside((width, height))
    left, top, right, bottom = _pixels(box, (width, height))
    square = _square(image[top:bottom, left:right].permute(2, 0, 1))
    report = f"{width}x{height}{said}, cut to {right - left}x{bottom - top} at {left},{top} ({where})"
    return Prepared(square, Box(left, top, right, bottom), report)


def _cover(image: Tensor, mask: Tensor | None) -> tuple[Tensor | None, str]:
    """How much of each pixel is the subject, H x W, or None for a picture without mask and alpha."""
    height, width = image.shape[:2]
    covers, said = (image[..., 3], ", transparency white") if image.shape[2] == 4 else (None, "")
    if mask is not None:
        if tuple(mask.shape) == NO_MASK != (height, width) and bool((mask == mask[0, 0]).all()):
            raise ValueError(
                "The mask says nothing: 'Load Image' gives one of 64x64 where a picture has no transparency; "
                "paint one ('Open in MaskEditor'), or take the mask away"
            )
        if tuple(mask.shape) != (height, width):
            raise ValueError(
                f"The mask is {mask.shape[-1]}x{mask.shape[-2]}, its picture is {width}x{height}; they must "
                "have one size"
            )
        if not bool((mask > 0.5).any()):
            raise ValueError(
                "The mask is empty: it must be white where the subject is (invert the mask of 'Load Image')"
            )
        covers, said = mask if covers is None else covers * mask, f"{said}, white outside the mask"
    if covers is not None and bool((covers < 0.5).all()):
        where = "everywhere" if mask is None else "where the mask is white"
        raise ValueError(f"No subject is left: the picture is transparent {where}")
    return covers, said


def written_boxes(text: str, count: int, size: tuple[int, int]) -> list[Box | None]:
    """The box of each of `count` pictures as `parse_boxes` reads them, or None where nothing is written.

    Raises ValueError for a picture with several.
    """
    rows = parse_boxes(text, count, size)
    several = next((number for number, row in enumerate(rows) if len(row) > 1), None)
    if several is not None:
        raise ValueError(
            f"boxes: picture {several} has {len(rows[several])} boxes, expected at most one for a picture "
            "(a line without a number is for every picture)"
        )
    return [Box(*map(float, row[0][:4])) if len(row) else None for row in rows]


def _box(box: Box | None, covers: Tensor | None, size: tuple[int, int]) -> tuple[Box, str]:
    """The box, and where it comes from."""
    if box is not None:
        inside = box.inside(size)
        if min(inside.size) < 1:
            raise ValueError(
                f"The subject's box has no pixels: {', '.join(f'{edge:g}' for edge in box)} (left, top, "
                f"right, bottom) in a picture of {size[0]}x{size[1]}"
            )
        return inside, "given box"
    found = [] if covers is None else boxes_of_masks(covers[None])[0]
    if len(found):
        return union(found), "box of the mask"
    return Box(0, 0, *size), "whole picture"


def _pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Whole-pixel edges around a box."""
    left, top = int(box.left), int(box.top)
    return left, top, min(-int(-box.right // 1), size[0]), min(-int(-box.bottom // 1), size[1])


def _square(image: Tensor) -> Tensor:
    """3 x H x W in the middle of a white square."""
    height, width = image.shape[1:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return functional.pad(image, (left, side - width - left, top, side - height - top), value=1.0)


def resized(image: Tensor, size: int = ENCODER_SIZE) -> Tensor:
    """A prepared picture 3 x S x S at another size, bilinear, averaging where it gets smaller."""
    if image.shape[-1] == size:
        return image
    scaled = functional.interpolate(
        image[None].float(), size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return scaled[0].clamp(0, 1)


def stacked(images: list[Tensor], size: int = ENCODER_SIZE) -> Tensor:
    """Prepared pictures at one size: N x 3 x size x size."""
    return torch.stack([resized(image, size) for image in images])
