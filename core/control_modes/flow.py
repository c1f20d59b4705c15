"""Flow along a clip for moving maps and pictures: OpenCV's own arithmetic, and flow over many frames.

One pair at a time; flow is (2, H, W) float32 in pixels, channel 0 = dx. Pictures are (H, W, C).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor

from ..optical_flow import FARNEBACK, consistent, dis_flow, grey, warp

FLOWS = ("farneback", "dis")
TOLERANCE = 1.0  # pixels that the way there and back may be off


def farneback(first: np.ndarray, second: np.ndarray, **settings) -> Tensor:
    """Farneback flow from one grey picture (H, W) uint8 to another, by the paper's numbers unless changed."""
    flow = cv2.calcOpticalFlowFarneback(first, second, None, **{**FARNEBACK, **settings})
    return torch.from_numpy(flow).permute(2, 0, 1).contiguous()


def flow_pair(first: Tensor, second: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Flow from the first picture to the second, and back; pictures (H, W, 3), uint8 or 0..1.

    Raises ValueError for an unknown method, or pictures too small for DIS.
    """
    if method not in FLOWS:
        raise ValueError(f"Flow method is '{method}', expected one of {', '.join(FLOWS)}.")
    pair = torch.stack((first, second))
    if method == "dis":
        return dis_flow(pair)[0], dis_flow(pair, backward=True)[0]
    a, b = grey(pair)
    return farneback(a, b), farneback(b, a)


def remap(picture: np.ndarray, flow: Tensor, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """A picture at p + flow(p) by OpenCV's fixed-point bilinear sampling, (H, W[, C]) of any depth."""
    height, width = flow.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    dx, dy = flow.numpy()
    return cv2.remap(picture, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=border)


def way_back(flow: Tensor, opposite: Tensor) -> Tensor:
    """How far following `flow` and then `opposite` ends from its start, (H, W) pixels; outside counts 0."""
    there = remap(opposite.permute(1, 2, 0).contiguous().numpy(), flow, cv2.BORDER_CONSTANT)
    return (flow + torch.from_numpy(there).permute(2, 0, 1)).norm(dim=0)


def warp_one(picture: Tensor, flow: Tensor) -> Tensor:
    """A picture (H, W, C) in 0..1 at p + flow(p), bilinear, edges continued."""
    return warp(picture.movedim(-1, 0)[None].float(), flow[None])[0].movedim(0, -1)


class ClipFlow:
    """DIS flow between neighbouring frames of a clip (F, H, W, 3), and from any frames to one of them."""

    def __init__(self, frames: Tensor, report=None):
        """Compute forward and backward flow; raises ValueError for fewer than 2 frames or small ones."""
        self.count = len(frames)
        self.forward = dis_flow(frames, report=report)
        self.backward = dis_flow(frames, backward=True, report=report)

    def away(self, place: int, frames: Iterable[int]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Each of `frames`, and how it is moved against frame `place`; they lead from its neighbour away.

        With each comes where its pixels are in frame `place`, as flow (2, H, W), and where that flow leads
        back to its start within 1 px for each frame between, (H, W) bool.
        """
        there = back = None  # from the frame to `place`, and from `place` to the frame
        for frame in frames:
            later = frame > place
            step = self.backward[frame - 1] if later else self.forward[frame]
            out = self.forward[frame - 1] if later else self.backward[frame]
            there = step if there is None else step + warp(there[None], step[None])[0]
            back = out if back is None else back + warp(out[None], back[None])[0]
            yield frame, there, consistent(there[None], back[None], TOLERANCE * abs(frame - place))[0]
