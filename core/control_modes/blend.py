"""Content and flow (M4 of the consistency paper): a frame drawn to the one before, moved along the flow.

With w the flow from the frame R to the one before, W that one at p + w(p), and m where |w + w'| < 1 px:

    F = (1 - a m) R + a m W
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..optical_flow import consistent, to_bytes
from .flow import TOLERANCE, flow_pair, remap, warp_one, way_back


@dataclass(frozen=True)
class FlowBlend:
    """How much of the moved frame counts, `amount` 0..1 (the paper's a), and how its flow is found.

    farneback: the paper's, in OpenCV's own 8-bit arithmetic. dis: follows larger motion and samples exactly.
    """

    amount: float = 0.5
    method: str = "farneback"

    def __post_init__(self):
        """Raise ValueError for what cannot be."""
        if not 0 <= self.amount <= 1:
            raise ValueError(f"Flow blend amount is {self.amount:g}, expected 0 to 1.")


def blend(
    frame: Tensor, before: Tensor, settings: FlowBlend, guide: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """One frame R (H, W, 3) in 0..1, drawn to the one before it; the same shape and range.

    guide: the two frames (this one, the one before) whose flow is used in place of the pictures' own, for
    example the source clip's: what is drawn anew each time has no flow of its own to follow.
    """
    there, back = flow_pair(*(guide or (frame, before)), settings.method)
    if settings.method == "farneback":
        mask = way_back(there, back) < TOLERANCE
        moved = torch.from_numpy(remap(to_bytes(before[None])[0], there)).float() / 255
    else:
        mask = consistent(there[None], back[None], TOLERANCE)[0]
        moved = warp_one(before, there)
    share = settings.amount * mask[..., None].float()
    return frame + share * (moved - frame)


def blend_clip(
    frames: Tensor, settings: FlowBlend, guide: Tensor | None = None, report: Callable | None = None
) -> Tensor:
    """A finished clip (F, H, W, 3), each frame drawn to the blended one before it.

    guide: a clip of the same shape whose flow is used. Raises ValueError for another shape.
    """
    if guide is not None and guide.shape[:3] != frames.shape[:3]:
        raise ValueError(
            f"The guide is {len(guide)} frames of {guide.shape[2]}x{guide.shape[1]}, the clip "
            f"{len(frames)} of {frames.shape[2]}x{frames.shape[1]}; expected the same."
        )
    made = [frames[0]]
    for f in range(1, len(frames)):
        pair = None if guide is None else (guide[f], guide[f - 1])
        made.append(blend(frames[f], made[-1], settings, pair))
        if report is not None:
            report(f, len(frames) - 1)
    return torch.stack(made)
