"""LoRAs as patches of the host: on a motion module, and AnimateDiff's domain adapter on the image model."""

from __future__ import annotations

import logging

import comfy.lora
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import LoRAAdapter

from ...core.motion.lora import lora_patches, read_domain_adapter, read_motion_lora


def apply_motion_lora(motion: ModelPatcher, path: str, strength: float) -> ModelPatcher:
    """A clone of a MOTION_MODEL with the motion LoRA at `path`; parts for a middle block it lacks are logged.

    Raises ValueError when the file is no motion LoRA or was made for another module.
    """
    patches, messages = lora_patches(motion.model, read_motion_lora(path))
    for message in messages:
        logging.warning(message)
    adapters = {}
    for patch in patches:
        key = patch.key if patch.part is None else (patch.key, patch.part)
        adapters[key] = LoRAAdapter(set(), (patch.up, patch.down, patch.alpha, None, None, None))
    return _patched(motion, adapters, strength)


def apply_domain_adapter(model: ModelPatcher, path: str, strength: float) -> ModelPatcher:
    """A clone of an image model with the domain adapter at `path`.

    Raises ValueError when the file is no domain adapter, or its layers and widths are not those of the model.
    """
    lora = read_domain_adapter(path)
    loaded = comfy.lora.load_lora(lora, comfy.lora.model_lora_keys_unet(model.model, {}), log_missing=False)
    weights = model.model_state_dict()
    fitting = {key: lora for key, lora in loaded.items() if _fits(weights.get(key), *lora.weights[:2])}
    if 2 * len(fitting) != len(lora):
        raise ValueError(
            f"The domain adapter changes {len(lora) // 2} layers, {len(fitting)} of them fit this model: "
            "it is made for Stable Diffusion 1.5"
        )
    return _patched(model, fitting, strength)


def _fits(weight, up, down) -> bool:
    return weight is not None and tuple(weight.shape[:2]) == (up.shape[0], down.shape[1])


def _patched(model: ModelPatcher, patches: dict, strength: float) -> ModelPatcher:
    model = model.clone()
    model.add_patches(patches, strength)
    return model
