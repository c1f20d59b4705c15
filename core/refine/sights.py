"""Where the boxes that tracks are made of come from: faces, masks, or the user."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .boxes import boxes_of_masks, parse_boxes
from .detect import Detections, detect_faces


def sights(
    images: Tensor,
    boxes: str = "",
    faces: Detections | None = None,
    mask: Tensor | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Detections:
    """Boxes of a clip (F, H, W, 3) from the one source that is given; faces are detected where none is.

    boxes: text as `parse_boxes` takes it. mask: (F, H, W), or one for all frames, whose connected parts are
    followed. Raises ValueError for two sources, or one that belongs to another clip.
    """
    count, size = len(images), (images.shape[2], images.shape[1])
    sources = {"boxes": bool(boxes.strip()), "faces": faces is not None, "mask": mask is not None}
    given = [name for name, there in sources.items() if there]
    if len(given) > 1:
        raise ValueError(f"Track Faces takes one of boxes, faces and mask, got {' and '.join(given)}")
    if boxes.strip():
        return Detections(size, tuple(parse_boxes(boxes, count, size)))
    if mask is not None:
        if len(mask) not in (1, count) or tuple(mask.shape[1:]) != tuple(images.shape[1:3]):
            raise ValueError(
                f"The mask is {tuple(mask.shape)}, the clip needs {tuple(images.shape[:3])}, or one for all"
            )
        return Detections(size, tuple(boxes_of_masks(mask.expand(count, -1, -1))))
    found = faces or detect_faces(images, report=report)
    if found.size != size or len(found.boxes) != count:
        raise ValueError(
            f"The faces are of {len(found.boxes)} frames of {found.size[0]}x{found.size[1]}, the images "
            f"are {count} of {size[0]}x{size[1]}"
        )
    return found
