"""Control sequences on the host's device, with its progress and interrupt, and their noise as a NOISE."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.model_management
from torch import Tensor

from ...core.control_modes.blend import FlowBlend, blend_clip
from ...core.control_modes.residual import WAYS, noise_motion
from ...core.control_modes.sequence import stabilise_maps
from ...core.fusion.stream import Fusion
from ...core.residual_noise import moved_along_flow
from .noise import ClipNoise
from .progress import reporter


def steadied(maps: Tensor, images: Tensor | None, settings: Fusion, level: bool) -> Tensor:
    """Maps (F, H, W, 3) averaged along the motion of a clip; see `core.control_modes.sequence`."""
    device = comfy.model_management.get_torch_device()
    source = None if images is None else images[..., :3]
    return stabilise_maps(maps[..., :3], source, settings, level, device, reporter())


def blended(images: Tensor, settings: FlowBlend, guide: Tensor | None) -> Tensor:
    """A clip (F, H, W, 3), each frame drawn to the one before; see `core.control_modes.blend`."""
    return blend_clip(images[..., :3], settings, None if guide is None else guide[..., :3], reporter())


def residual_noise(images: Tensor, seed: int, way: str, threshold: float) -> ClipNoise:
    """Noise that follows a source clip as a NOISE. Raises ValueError, when made, for an unknown way."""
    if way not in WAYS:
        raise ValueError(f"Residual noise moves '{way}', expected one of {', '.join(WAYS)}.")

    def draw(_frames: int, shape: tuple[int, ...]) -> Tensor:
        flow, kept = noise_motion(images, tuple(shape[1:]), way, threshold)
        return moved_along_flow(len(images), shape, seed, flow, kept)

    return SourceNoise(seed, draw, len(images))


@dataclass(frozen=True)
class SourceNoise(ClipNoise):
    """Noise that `draw` gives for the whole of a source of `frames`, whatever part is asked for."""

    frames: int

    def generate_noise(self, latent: dict) -> Tensor:
        """Noise of a latent as long as the source, or of a part of one that says which frames it is.

        Raises ValueError for any other.
        """
        places, count = latent.get("batch_index"), latent["samples"].shape[0]
        needed = count if places is None else int(max(places)) + 1
        if needed > self.frames or (places is None and needed < self.frames):
            raise ValueError(f"The source has {self.frames} frames, the latent {needed}; expected as many")
        return super().generate_noise(latent)
