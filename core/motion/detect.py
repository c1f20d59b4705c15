"""Tell what kind of file a state dict came from, and say clearly why another kind is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

SITE = re.compile(
    r"(?:^|\.)(?P<site>(?:down_blocks\.\d+|up_blocks\.\d+|mid_block)\.motion_modules\.\d+)\.(?P<rest>.+)$"
)
_LORA = re.compile(r"lora(?:_[AB]|(?:_linear_layer)?\.(?:up|down)|_(?:up|down))\.")

TITLES = {
    "animatediff": "an AnimateDiff motion module",
    "diffusers": "a diffusers MotionAdapter",
    "motion_lora": "a motion LoRA; use 'Load Motion LoRA'",
    "domain_adapter": "a domain adapter (a LoRA for the image model); use 'Apply Domain Adapter'",
    "sparsectrl_rgb": "a video ControlNet (SparseCtrl RGB); use 'Load Video ControlNet'",
    "sparsectrl_scribble": "a video ControlNet (SparseCtrl scribble); use 'Load Video ControlNet'",
    "flow_controlnet": "a video ControlNet (Image Conductor flow); use 'Load Video ControlNet'",
    "controlnet": "an image ControlNet; use ComfyUI's 'Load ControlNet Model'",
    "lora": "a LoRA for the image model; use ComfyUI's 'Load LoRA'",
    "checkpoint": "an image model; use ComfyUI's 'Load Checkpoint' or 'Load Diffusion Model'",
}
# Typical keys, digits replaced by #: what the nearest layout of an unknown file is measured against.
_TYPICAL = {
    "animatediff": (
        "down_blocks.#.motion_modules.#.temporal_transformer.proj_in.weight",
        "down_blocks.#.motion_modules.#.temporal_transformer.transformer_blocks.#.attention_blocks.#.to_q.weight",
        "up_blocks.#.motion_modules.#.temporal_transformer.transformer_blocks.#.ff.net.#.proj.weight",
        "up_blocks.#.motion_modules.#.temporal_transformer.transformer_blocks.#.norms.#.weight",
    ),
    "diffusers": (
        "down_blocks.#.motion_modules.#.transformer_blocks.#.attn#.to_q.weight",
        "up_blocks.#.motion_modules.#.transformer_blocks.#.norm#.weight",
        "up_blocks.#.motion_modules.#.proj_in.weight",
    ),
    "motion_lora": (
        "down_blocks.#.motion_modules.#.temporal_transformer.transformer_blocks.#.attention_blocks.#.processor."
        "to_q_lora.down.weight",
    ),
    "domain_adapter": (
        "down_blocks.#.attentions.#.transformer_blocks.#.attn#.processor.to_q_lora.down.weight",
    ),
    "controlnet": ("controlnet_cond_embedding.weight", "controlnet_down_blocks.#.weight", "conv_in.weight"),
    "checkpoint": (
        "model.diffusion_model.input_blocks.#.#.in_layers.#.weight",
        "first_stage_model.encoder.down.#.block.#.conv#.weight",
        "cond_stage_model.transformer.text_model.encoder.layers.#.mlp.fc#.weight",
    ),
}


def detect_layout(state: Mapping[str, Tensor]) -> str:
    """Name of the layout (a key of `TITLES`), or "unknown".

    A whole UNet that holds motion modules counts as the motion module.
    """
    sites = [match for key in state if (match := SITE.search(key)) is not None]
    if any("controlnet_cond_embedding" in key or "controlnet_down_blocks" in key for key in state):
        return _controlnet(state, bool(sites))
    if any(_LORA.search(match["rest"]) for match in sites):
        return "motion_lora"
    if sites:
        return "animatediff" if any("temporal_transformer." in m["rest"] for m in sites) else "diffusers"
    if any(_LORA.search(key) for key in state):
        return "domain_adapter" if any(".processor.to_" in key for key in state) else "lora"
    if any("diffusion_model.input_blocks." in key or "down_blocks.0.resnets." in key for key in state):
        return "checkpoint"
    return "unknown"


def _controlnet(state: Mapping[str, Tensor], motion: bool) -> str:
    if not motion:
        return "controlnet"
    simple = next((t for key, t in state.items() if _is_single_embedding(key)), None)
    if simple is None:
        return "sparsectrl_scribble"
    return "sparsectrl_rgb" if simple.shape[1] == 5 else "flow_controlnet"


def _is_single_embedding(key: str) -> bool:
    """One convolution, plain or wrapped for LoRA, embeds the condition (no stack of them)."""
    return key.endswith(("controlnet_cond_embedding.weight", "controlnet_cond_embedding.base_layer.weight"))


def nearest_layout(keys: Iterable[str]) -> str:
    """The layout whose typical keys share the most name parts with `keys`."""
    words = {word for key in keys for word in _words(key)}

    def shared(layout: str) -> float:
        typical = {word for key in _TYPICAL[layout] for word in _words(key)}
        return len(words & typical) / len(words)

    return max(_TYPICAL, key=shared)


def _words(key: str) -> set[str]:
    return set(re.sub(r"\d+", "#", key).split("."))


def refusal(name: str, state: Mapping[str, Tensor], layout: str, wanted: str, what: str) -> str:
    """What to say of a file of another kind: what it is, or its nearest layout and five keys that differ."""
    if layout != "unknown":
        return f"'{name}' is not a {what} but {TITLES[layout]}"
    nearest = nearest_layout(state)
    typical = {key for key in _TYPICAL[nearest]}
    differ = [key for key in state if re.sub(r"\d+", "#", key) not in typical][:5]
    return (
        f"'{name}' is not a {what}: the nearest layout is {TITLES[nearest].split(';')[0]}, but "
        f"these keys differ from it: {', '.join(differ)} (a {what} has keys like {_TYPICAL[wanted][0]})"
    )
