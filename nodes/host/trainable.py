"""Which host models core's recipes can train on: what a UNet takes, and what it predicts."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import EPS, V_PREDICTION

from ...core.training.tune import NOISE, VELOCITY

CHANNELS = 4  # of Stable Diffusion 1.5's latents
PREDICTS = {EPS: NOISE, V_PREDICTION: VELOCITY}  # what the host's classes say that a model predicts


def prediction(model: ModelPatcher) -> str | None:
    """What a model predicts as core's recipes name it, noise or v; None for anything else.

    Nodes that change it patch only the sampling. Told by how it is read, for classes of other kinds (clean
    clips, distilled models) are made from the class for noise.
    """
    read = getattr(type(model.get_model_object("model_sampling")), "calculate_denoised", None)
    return next((name for kind, name in PREDICTS.items() if kind.calculate_denoised is read), None)


def check_unet(base) -> None:
    """Raise ValueError for a UNet that takes more than a noisy latent and a text, such as SDXL's."""
    channels = getattr(base.diffusion_model, "in_channels", None)
    if channels != CHANNELS or base.adm_channels:
        raise ValueError(
            f"The model is {type(base).__name__} with {channels} input channels and {base.adm_channels} "
            f"values besides the text; training needs one with {CHANNELS} and 0, as Stable Diffusion 1.5."
        )
