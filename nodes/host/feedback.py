"""Fusion feedback: at chosen steps the predicted clean clip is decoded, fused, encoded, and sampling goes on.

It acts through the host's post-CFG hook, so any sampler takes the fused clip for the model's prediction.
Decided from the sigma of each call alone: calls that a sampler makes within a chosen step are all fused.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import comfy.model_management
import comfy.sampler_helpers
import torch
from comfy.cli_args import LatentPreviewMethod, args
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy.utils import ProgressBar
from PIL import Image
from torch import Tensor

from ...core.fusion.stream import Fusion, fuse_clip
from ...core.keyframes import Keyframes
from .denoised import step_of, steps_at, with_post_cfg
from .preview import clip_picture
from .progress import check_interrupt, reporter


@dataclass(frozen=True)
class ClipFuser:
    """Fuses decoded clips: `core.fusion` with the settings and keyframes of a node."""

    settings: Fusion
    keyframes: Keyframes | None = None

    def check(self, frames: int, size: tuple[int, int]) -> None:
        """Raise ValueError when the keyframes do not fit a clip of that length and (width, height)."""
        if self.keyframes is not None:
            self.keyframes.placed(frames, size)

    def __call__(self, frames: Tensor, report: Callable[..., None]) -> Tensor:
        """Frames (F, H, W, 3) in 0..1 -> the same shape; report(done, total) after each frame."""
        device = comfy.model_management.get_torch_device()
        return fuse_clip(frames, self.settings, keyframes=self.keyframes, device=device, report=report)


@dataclass(frozen=True)
class FeedbackOptions:
    """When and how much.

    `percents` of sampling, 0..1, each at the first step that begins there or later; `strength` 0..1 of the
    change that goes back. Raises ValueError for values out of range or no percent at all.
    """

    percents: tuple[float, ...]
    strength: float = 1.0

    def __post_init__(self):
        """Check the values."""
        if not self.percents:
            raise ValueError("percents is empty, expected numbers such as '0.4, 0.7'")
        for percent in self.percents:
            if not 0.0 <= percent <= 1.0:
                raise ValueError(f"percents has {percent:g}, expected numbers from 0 to 1")
        if not 0.0 <= self.strength <= 1.0:
            raise ValueError(f"strength is {self.strength:g}, expected 0 to 1")


def parse_percents(text: str) -> tuple[float, ...]:
    """Percents such as "0.4, 0.7", parted by commas or spaces; raises ValueError that shows a wrong entry."""
    entries = text.replace(",", " ").split()
    for entry in entries:
        if not re.fullmatch(r"\d+\.?\d*|\.\d+", entry):
            raise ValueError(f"percents: expected numbers from 0 to 1 as in '0.4, 0.7', got '{entry}'")
    return tuple(map(float, entries))


def apply_feedback(
    model: ModelPatcher, vae, fuse: ClipFuser, options: FeedbackOptions, fast_vae=None
) -> ModelPatcher:
    """A clone of `model` that feeds fused frames back while it samples; `model` stays as it is.

    `fast_vae` (a TAESD, say) serves all passes but the last of a run.
    """
    model = model.clone()
    feedback = Feedback(vae, fuse, options, fast_vae or vae)
    key = f"choreo_feedback_{uuid.uuid4().hex}"
    model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, key, feedback.sample)
    return model


class Feedback:
    """Feedback on one model; each sampling run gets its own `FeedbackPass`."""

    def __init__(self, vae, fuse: ClipFuser, options: FeedbackOptions, fast_vae):
        """Take the parts."""
        self.vae, self.fuse, self.options, self.fast_vae = vae, fuse, options, fast_vae

    def sample(
        self, executor, guider, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None,
        *rest, **named,
    ):  # fmt: skip
        """SAMPLER_SAMPLE wrapper: check the keyframes, and add the hook to this run alone."""
        ratio = self.vae.spacial_compression_encode()
        self.fuse.check(noise.shape[0], (noise.shape[3] * ratio, noise.shape[2] * ratio))
        run = FeedbackPass(self, guider, sigmas.tolist(), latent_image, denoise_mask)
        if run.steps and self.options.strength:
            extra_args = with_post_cfg(extra_args, run.change)
        return executor(
            guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *rest, **named
        )


class FeedbackPass:
    """The feedback of one sampling run."""

    def __init__(self, feedback: Feedback, guider, sigmas: list[float], latent_image, mask):
        """Find the steps; latent image and mask (1 = made new) are those of the sampler, or None."""
        self.feedback, self.guider, self.sigmas = feedback, guider, sigmas
        self.latent_image, self.mask = latent_image, mask
        base = guider.model_patcher.model
        self.to_model, self.to_vae = base.process_latent_in, base.process_latent_out
        self.steps = steps_at(base.model_sampling, sigmas, feedback.options.percents)

    def change(self, arguments: dict) -> Tensor:
        """Post-CFG function: predicted clean latents (F, 4, h, w) with the change by fusion added.

        Only the change goes back: what encoding and decoding lose cancels out, and where fusion alters
        nothing, the latents stay as they are.
        """
        clean = arguments["denoised"]
        step = step_of(self.sigmas, float(arguments["sigma"].flatten()[0]))
        if step not in self.steps:
            return clean
        vae = self.feedback.vae if step == max(self.steps) else self.feedback.fast_vae
        change = self._fused_change(clean, vae, step)
        self._load_model_again(clean.shape)
        return clean + self.feedback.options.strength * change.to(clean)

    def _fused_change(self, clean: Tensor, vae, step: int) -> Tensor:
        """Encoded fused frames minus encoded frames, in the sampler's units."""
        check_interrupt()
        shown = clean if self.mask is None else clean * self.mask + self.latent_image * (1 - self.mask)
        frames = vae.decode(self.to_vae(shown.float()))
        check_interrupt()
        fused = self.feedback.fuse(frames, reporter())
        if fused.shape != frames.shape:
            raise ValueError(f"Fusion gave frames {tuple(fused.shape)}, expected {tuple(frames.shape)}")
        self._show(fused, step)
        before = self.to_model(vae.encode(frames))
        check_interrupt()
        return self.to_model(vae.encode(fused)) - before

    def _load_model_again(self, shape) -> None:
        """Where memory is short, the VAE took the model's place."""
        guider = self.guider
        comfy.sampler_helpers.prepare_sampling(
            guider.model_patcher, shape, guider.conds, guider.model_options
        )

    def _show(self, frames: Tensor, step: int) -> None:
        """The fused clip as the node's preview, where previews are on."""
        if args.preview_method == LatentPreviewMethod.NoPreviews:
            return
        picture = clip_picture(frames, step, _picture)
        total = len(self.sigmas) - 1
        ProgressBar(total).update_absolute(step, total, ("JPEG", picture, args.preview_size))


def _picture(frame: Tensor) -> Image.Image:
    """1 x H x W x 3 in 0..1 -> a PIL image."""
    return Image.fromarray((frame[0].clamp(0, 1) * 255).round().to("cpu", torch.uint8).numpy())
