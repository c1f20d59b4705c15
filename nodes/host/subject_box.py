"""Where the subject of a picture is: the mask's box, the largest face, what the user wrote."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...core.image_prompt.picture import Prepared, prepare, stacked, written_boxes
from ...core.optical_flow import to_bytes
from ...core.refine.boxes import Box
from ...core.refine.detect import FaceDetector
from .progress import track

MASK, FACE, WRITTEN, WHOLE = "mask", "face", "written", "whole picture"
SOURCES = (MASK, FACE, WRITTEN, WHOLE)


def subject_boxes(images: Tensor, source: str, margin: float, masks: Tensor | None, text: str):
    """Boxes as text, the prepared subjects N x S x S x 3 in the size of the largest, and a report.

    images: N x H x W x 3 or 4 in 0..1. Raises ValueError where the source finds nothing.
    """
    if source == MASK and masks is None and images.shape[3] == 3:
        raise ValueError("source is 'mask', and there is none: connect a mask, or choose another source")
    if masks is not None and len(masks) not in (1, len(images)):
        raise ValueError(
            f"There are {len(masks)} masks for {len(images)} pictures; give one each, or one for all"
        )
    given = _given(images, source, text)
    found: list[Prepared] = []
    for number, image in enumerate(track(images)):
        mask = None if masks is None else masks[min(number, len(masks) - 1)]
        found.append(prepare(image.float(), mask, given[number], margin))
    lines = [f"{n}: {', '.join(f'{edge:g}' for edge in one.box)}" for n, one in enumerate(found)]
    side = max(one.image.shape[-1] for one in found)
    report = "\n".join(f"picture {n}: {one.report}" for n, one in enumerate(found))
    return "\n".join(lines), stacked([one.image for one in found], side).movedim(1, -1), report


def _given(images: Tensor, source: str, text: str) -> list[Box | None]:
    """The box of each picture, or None for that of the mask or the whole picture."""
    size = images.shape[2], images.shape[1]
    if source == WHOLE:
        return [Box(0, 0, *size)] * len(images)
    if source == FACE:
        detector = FaceDetector()
        return [_largest(detector(to_bytes(image[None, ..., :3])[0]), n) for n, image in enumerate(images)]
    if source == WRITTEN:
        boxes = written_boxes(text, len(images), size)
        if None in boxes:
            raise ValueError(f"source is 'written', and box says nothing for picture {boxes.index(None)}")
        return boxes
    return [None] * len(images)


def _largest(faces: np.ndarray, number: int) -> Box:
    if not len(faces):
        raise ValueError(f"There is no face in picture {number}; use a mask, or write the box")
    areas = (faces[:, 2] - faces[:, 0]) * (faces[:, 3] - faces[:, 1])
    return Box(*map(float, faces[int(areas.argmax())][:4]))
