"""Keyframes in the host: encode them, put them in a LATENT, and pull a model's predictions to them."""

from __future__ import annotations

import copy
import uuid

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...core.keyframe_guidance import Guidance
from ...core.keyframes import Keyframes, falloff, neighbours
from .denoised import percent_of, with_post_cfg

FILLS = ("blend", "nearest", "empty")


def encode_images(vae, images: torch.Tensor) -> torch.Tensor:
    """Latents (K, 4, h, w) of images (K, H, W, 3); raises ValueError where the VAE would crop them."""
    ratio = vae.spacial_compression_encode()
    height, width = images.shape[1:3]
    if height % ratio or width % ratio:
        raise ValueError(
            f"The keyframe images are {width}x{height}, expected multiples of {ratio}; "
            "use 'Upscale Image' first"
        )
    return vae.encode(images)


def keyframe_latent(
    vae, keyframes: Keyframes, frames: int, fill: str, reach: float
) -> tuple[dict, torch.Tensor]:
    """A LATENT of `frames` frames that holds its keyframes, and their hold as a MASK (F, H, W) in 0..1.

    Other frames are a blend of the keyframes around them, the nearest one, or empty; those that are held a
    little are never empty, or they would be pulled to grey. The noise mask is 1 - hold: a sampler leaves the
    keyframes as they are and makes the rest. Raises ValueError as `Keyframes.placed`.
    """
    placed = keyframes.placed(frames)
    encoded = encode_images(vae, placed.images)
    hold = falloff(placed, frames, reach).sum(0)  # F
    left, right, share = neighbours(placed.frames, frames)
    share = (share.round() if fill == "nearest" else share).view(-1, 1, 1, 1).to(encoded)
    samples = torch.lerp(encoded[left], encoded[right], share)
    if fill == "empty":
        kept = (hold > 0).index_fill_(0, torch.tensor(placed.frames), True)
        samples = samples * kept.view(-1, 1, 1, 1).to(encoded)
    mask = hold.to(encoded).view(-1, 1, 1).expand(-1, *placed.images.shape[1:3])
    free = (1 - hold.to(encoded)).view(-1, 1, 1, 1).expand(-1, 1, *encoded.shape[2:]).clone()
    return {"samples": samples, "noise_mask": free}, mask


def apply_guidance(model: ModelPatcher, vae, keyframes: Keyframes, guidance: Guidance) -> ModelPatcher:
    """A clone of `model` whose predicted clean clip is pulled to the keyframes while it is sampled.

    The images are encoded once, now; that the keyframes fit the clip is checked when sampling starts. Raises
    ValueError.
    """
    run = GuidanceRun(keyframes, encode_images(vae, keyframes.images), guidance)
    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, f"choreo_keyframes_{uuid.uuid4().hex}", run.sample)
    return model


class GuidanceRun:
    """Keyframes encoded for one model, and the pull towards them in each of its sampling runs."""

    def __init__(self, keyframes: Keyframes, encoded: torch.Tensor, guidance: Guidance):
        """Take latents (K, C, h, w) of the keyframes in the order given."""
        self.keyframes, self.encoded, self.guidance = keyframes, encoded, guidance

    def sample(self, executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
        """SAMPLER_SAMPLE wrapper: pull to the keyframes after guidance, in this run only."""
        placed, targets = self._fit(noise.shape)
        base = guider.model_patcher.model
        targets = base.process_latent_in(targets).to(noise)
        sampling = copy.deepcopy(base.model_sampling).cpu()  # looked up twenty times a call

        def change(arguments: dict) -> torch.Tensor:
            percent = percent_of(sampling, float(arguments["sigma"].flatten()[0]))
            return self.guidance.steer(arguments["denoised"], targets, placed, percent)

        return executor(guider, sigmas, with_post_cfg(extra_args, change), callback, noise, *args, **kwargs)

    def _fit(self, shape) -> tuple[Keyframes, torch.Tensor]:
        """Keyframes placed in a clip of latents `shape`, and their latents in the same order."""
        if tuple(shape[1:]) != tuple(self.encoded.shape[1:]):
            raise ValueError(
                f"The keyframes' latents are {tuple(self.encoded.shape[1:])}, the clip's are "
                f"{tuple(shape[1:])} (channels, height, width): give keyframes of the clip's size, and the "
                "VAE of the model"
            )
        frames = shape[0]
        return self.keyframes.placed(frames), self.encoded[self.keyframes.order(frames)]
