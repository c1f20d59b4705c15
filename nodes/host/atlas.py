"""Atlases in the host: built on its device with progress and preview, and used while sampling."""

from __future__ import annotations

import logging
import time

import comfy.model_management
import torch
from PIL import Image
from torch import Tensor

from ...core.atlas.fit import AtlasSettings, Clip, fit_atlas
from ...core.atlas.model import Atlas, render, resized
from .feedback import FeedbackOptions, apply_feedback
from .progress import check_interrupt, reporter

PREVIEW_SECONDS = 2.0
PIXEL_BYTES = 64  # of device memory a pixel of a clip: colours, mask and flow both ways, as they are made


def build_atlas(images: Tensor, masks: Tensor | None, settings: AtlasSettings) -> Atlas:
    """Fit an atlas to a clip (F, H, W, 3) with masks (F, H, W) of its foreground, or None."""
    with torch.inference_mode(False):
        return fit_atlas(on_device(images, masks, reporter()), settings, shown()).cpu()


def on_device(images: Tensor, masks: Tensor | None, report) -> Clip:
    """The clip on the host's device, where room is made for it; its tensors are this one's own copies."""
    device = comfy.model_management.get_torch_device()
    needed = PIXEL_BYTES * images[..., 0].numel() + comfy.model_management.minimum_inference_memory()
    comfy.model_management.free_memory(needed, device)
    return Clip(images[..., :3].clone(), None if masks is None else masks.clone(), device, report)


def shown():
    """Progress of a fit: the bar, the interrupt, and now and then the layers as the node's preview."""
    report, last = reporter(), [time.monotonic()]

    def step(done: int, total: int, atlas: Atlas) -> None:
        picture = None
        if time.monotonic() - last[0] > PREVIEW_SECONDS:
            picture, last[0] = layers_picture(atlas), time.monotonic()
        report(done, total, picture)

    return step


def layers_picture(atlas: Atlas) -> Image.Image:
    """The layers side by side."""
    side_by_side = torch.cat(list(atlas.pictures), dim=1)
    return Image.fromarray((side_by_side * 255).round().cpu().byte().numpy())


def clip_quality(atlas: Atlas, made: Tensor, images: Tensor) -> str:
    """How well what an atlas shows, `made`, is its clip, in one line; both (F, H, W, 3)."""
    error = (made - images[..., :3].to(made)).square().mean()
    decibels = float(-10 * torch.log10(error.clamp_min(1e-10)))
    return f"{decibels:.1f} dB; layers: {', '.join(atlas.names)}; {atlas.side}x{atlas.side}"


def rendered(
    atlas: Atlas, foreground: Tensor | None, background: Tensor | None, images: Tensor | None
) -> Tensor:
    """The clip with edited layers, (1, h, w, 3) each or None; see `core.atlas.model.render`.

    A layer that is not edited takes the edited one's size. Raises ValueError for a foreground of an atlas
    without one, several pictures for a layer, or a clip that is not the atlas's.
    """
    given = (foreground, background)[-len(atlas.names) :]
    if foreground is not None and len(given) == 1:
        raise ValueError("The atlas has one layer, the background: connect the edit to 'background'")
    several = next((picture for picture in given if picture is not None and len(picture) != 1), None)
    if several is not None:
        raise ValueError(f"A layer of the atlas is one picture, got {len(several)}")
    size = max((tuple(p.shape[1:3]) for p in given if p is not None), default=(atlas.side, atlas.side))
    own = resized(atlas.pictures, size)
    pictures = [
        own[i : i + 1] if picture is None else resized(picture[..., :3].float(), size)
        for i, picture in enumerate(given)
    ]
    clip = None if images is None else images[..., :3]
    return render(atlas, torch.cat(pictures), clip, reporter())


class AtlasPull:
    """Pulls decoded predictions to what one atlas can show: a rigid world, coloured by the first frames."""

    def __init__(self, settings: AtlasSettings, masks: Tensor | None = None):
        """Take masks of the foreground (F, H, W), or None for one layer."""
        self.settings, self.masks = settings, masks

    def check(self, frames: int, size: tuple[int, int]) -> None:
        """Raise ValueError for a clip of one frame, or masks that do not fit its length and size (w, h)."""
        if frames < 2:
            raise ValueError(f"Atlas guidance needs a clip of at least 2 frames, the latent has {frames}")
        if self.masks is not None and tuple(self.masks.shape) != (frames, size[1], size[0]):
            raise ValueError(
                f"The masks are {len(self.masks)} of {self.masks.shape[2]}x{self.masks.shape[1]}, the clip "
                f"{frames} frames of {size[0]}x{size[1]}; expected one of its size a frame"
            )

    def __call__(self, frames: Tensor, report) -> Tensor:
        """Frames (F, H, W, 3) in 0..1 -> what an atlas of them shows, the same shape."""
        check_interrupt()
        with torch.inference_mode(False):
            clip = on_device(frames.clone().clamp(0, 1).cpu(), self.masks, report)
            atlas = fit_atlas(clip, self.settings, lambda done, total, _: report(done, total))
        made = render(atlas)
        logging.info("Atlas guidance: %s", clip_quality(atlas, made, clip.images))
        return made.to(frames)


def apply_atlas_guidance(model, vae, settings: AtlasSettings, masks, options: FeedbackOptions):
    """A clone of `model` whose predicted clips are pulled to an atlas at chosen steps; `model` stays."""
    return apply_feedback(model, vae, AtlasPull(settings, masks), options)
