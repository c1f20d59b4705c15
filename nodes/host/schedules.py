"""Give a model the beta schedule that a motion module was trained with."""

from __future__ import annotations

import copy

from comfy.model_sampling import ModelSamplingDiscrete, rescale_zero_terminal_snr_sigmas

from ...core.schedules import SCHEDULES, sigmas

AUTO, UNCHANGED = "auto", "unchanged"
CHOICES = [AUTO, *SCHEDULES, UNCHANGED]


def apply_beta_schedule(model, choice: str, trained_with: str) -> None:
    """Patch the ModelPatcher `model` to sample with a schedule of core.schedules.

    `choice` is a name there, "auto" for `trained_with`, or "unchanged". What the model predicts (noise or
    velocity), zero terminal SNR and a distilled model's fewer steps stay. Raises ValueError for models
    without discrete steps.
    """
    name = trained_with if choice == AUTO else choice
    if name == UNCHANGED:
        return
    current = model.get_model_object("model_sampling")
    if not isinstance(current, ModelSamplingDiscrete):
        raise ValueError(
            f"beta_schedule '{name}' needs a model with discrete noise steps, this one has "
            f"{type(current).__name__}; choose '{UNCHANGED}'"
        )
    values = sigmas(name)
    if getattr(current, "zsnr", False):
        values = rescale_zero_terminal_snr_sigmas(values)
    every = len(values) // len(current.sigmas)
    patched = copy.deepcopy(current)
    patched.set_sigmas(values[every - 1 :: every])  # float64, which not every device knows
    model.add_object_patch("model_sampling", patched.to(current.sigmas.device))
