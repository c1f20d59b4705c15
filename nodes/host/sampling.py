"""Run the host's own samplers with noise of ours, and show the host how far a long computation is."""

from dataclasses import dataclass

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch


@dataclass(frozen=True)
class SamplerSettings:
    """What the stock KSampler is told: names from `sampler_names` and `scheduler_names`, denoise in 0..1."""

    seed: int
    steps: int
    cfg: float
    sampler: str
    scheduler: str
    denoise: float = 1.0


def sampler_names() -> list[str]:
    """The host's samplers."""
    return comfy.samplers.KSampler.SAMPLERS


def scheduler_names() -> list[str]:
    """The host's schedulers."""
    return comfy.samplers.KSampler.SCHEDULERS


def sample_with_noise(model, noise, settings: SamplerSettings, positive, negative, latent: dict) -> dict:
    """What the stock KSampler does, with a NOISE object in place of its own noise.

    Previews, progress, noise mask, batch_index and a denoise below 1 work as they do there.
    """
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    result = comfy.sample.sample(
        model,
        noise.generate_noise({**latent, "samples": samples}),
        settings.steps,
        settings.cfg,
        settings.sampler,
        settings.scheduler,
        positive,
        negative,
        samples,
        denoise=settings.denoise,
        noise_mask=latent.get("noise_mask"),
        callback=latent_preview.prepare_callback(model, settings.steps),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=settings.seed,
    )
    return {**latent, "samples": result}


def empty_latent(frames: int, channels: int, height: int, width: int) -> torch.Tensor:
    """Zeros (frames, channels, height, width) where the host keeps values between nodes."""
    return torch.zeros(frames, channels, height, width, device=comfy.model_management.intermediate_device())
