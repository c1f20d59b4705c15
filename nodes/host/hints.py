"""What a video ControlNet is given: drawn motion, or images at frames; cut to the frames that are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ...core.control.network import LATENT_STRIDE, VideoControlNet
from ...core.keyframes import Keyframes
from .keyframes import encode_images

AREA = (
    "; if a prompt has an area, that may be the cause: use 'Conditioning (Set Mask)' with 'default' instead"
)


class Hint(Protocol):
    """A condition for a whole clip."""

    def prepare(self, model) -> None:
        """Before sampling with the host's `model`."""

    def condition(self, frames: int, index: Sequence[int], size: tuple[int, int]) -> Tensor:
        """The net's condition 1 F C H W for the frames in `index` of a clip of `frames` frames.

        `size` is (height, width) of the latents. Raises ValueError when the hint is for another clip.
        """


class FlowHint:
    """A flow map (F, 2, H, W) in pixels: dx, dy."""

    def __init__(self, flow: Tensor, net: VideoControlNet):
        """Take the map; raises ValueError when it is none, or the net takes another condition."""
        if net.config.kind != "flow":
            raise ValueError(
                f"This ControlNet takes {net.config.kind}, not trajectories: connect it to "
                "'Apply Image ControlNet', and a flow ControlNet here"
            )
        if flow.ndim != 4 or flow.shape[1] != 2:
            raise ValueError(f"A flow map must be frames x 2 x height x width, got {tuple(flow.shape)}")
        self.flow = flow

    def prepare(self, model) -> None:
        """Flow maps are in pixels whatever the model."""

    def condition(self, frames: int, index: Sequence[int], size: tuple[int, int]) -> Tensor:
        """See `Hint`."""
        count, _, height, width = self.flow.shape
        wide, high = (LATENT_STRIDE * cells for cells in reversed(size))
        if count != frames:
            raise ValueError(
                f"The flow map has {count} frames, the clip has {frames}: set the same number in both"
            )
        if (width, height) != (wide, high):
            raise ValueError(
                f"The flow map is {width}x{height}, the clip is {wide}x{high}: set the same size in "
                f"both{AREA}"
            )
        # where a window leaves frames out, motion is from its own frame before; a new start keeps the clip's
        before = [index[0] - 1, *index[:-1]]
        rows = [
            self.flow[a + 1 : b + 1].sum(0) if a < b else self.flow[b]
            for a, b in zip(before, index, strict=True)
        ]
        return torch.stack(rows)[None]


class KeyframeHint:
    """Images at some frames: as latents with a mask, or as pixels with a mask, as the net takes them.

    A keyframe's strength multiplies its image and its mask.
    """

    def __init__(self, keyframes: Keyframes, net: VideoControlNet, vae=None):
        """Encode the images where the net takes latents; raises ValueError when that cannot be done."""
        self.keyframes, self.latent = keyframes, net.config.kind == "image"
        if net.config.kind == "flow":
            raise ValueError(
                "This ControlNet takes trajectories, not images: connect it to 'Apply Trajectory ControlNet'"
            )
        if self.latent and vae is None:
            raise ValueError("This ControlNet takes images as latents: connect the model's VAE to vae")
        images = keyframes.images
        self.content = encode_images(vae, images) if self.latent else images.movedim(-1, 1)  # K C H W

    def prepare(self, model) -> None:
        """Bring latents to the scale that the model is trained on."""
        self._scaled = model.process_latent_in(self.content) if self.latent else self.content

    def condition(self, frames: int, index: Sequence[int], size: tuple[int, int]) -> Tensor:
        """See `Hint`."""
        try:
            self.keyframes.check_sizes((LATENT_STRIDE * size[1], LATENT_STRIDE * size[0]))
        except ValueError as error:
            raise ValueError(f"{error}{AREA}") from None
        placed = self.keyframes.placed(frames)
        content = self._scaled[self.keyframes.order(frames)]
        where = {frame: i for i, frame in enumerate(placed.frames)}
        found = content.new_zeros(1, len(index), content.shape[1] + 1, *content.shape[2:])
        for row, frame in enumerate(index):
            if frame in where:
                strength = placed.items[where[frame]].strength
                found[0, row, :-1] = content[where[frame]] * strength
                found[0, row, -1] = strength
        return found
