"""Motion LoRA (low-rank changes of a motion module's attention) and AnimateDiff v3's domain adapter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..files import read_weights, unwrap
from .detect import detect_layout, refusal
from .layouts import site_key
from .model import MotionModel

_PART = re.compile(
    r"^transformer_blocks\.0\.attention_blocks\.(?P<attention>\d+)\.(?:processor\.)?to_(?P<part>q|k|v|out)(?:\.0)?"
    r"(?:_lora|\.lora|\.lora_linear_layer)?[._](?P<side>down|up|lora_A|lora_B|lora_down|lora_up)\.weight$"
)
_ADAPTER = re.compile(
    r"(?P<layer>(?:down|up|mid)_blocks?\.\S*attn[12])\.processor\.to_(?P<part>q|k|v|out)_lora\."
)
_DOWN_SIDES = ("down", "lora_A", "lora_down")


@dataclass(frozen=True)
class LoraPatch:
    """One low-rank change: parameter `key` += strength * alpha / rank * up @ down.

    `part` is (dimension, first row, rows) of the parameter that changes, None for all of it. `up` is out x
    rank, `down` rank x in; `alpha` None means alpha = rank.
    """

    key: str
    part: tuple[int, int, int] | None
    up: Tensor
    down: Tensor
    alpha: float | None = None


@dataclass(frozen=True)
class MotionLora:
    """A motion LoRA file: (site name, attention index, "q" "k" "v" or "out") -> (up, down)."""

    layers: dict[tuple[str, int, str], tuple[Tensor, Tensor]]
    name: str = ""


def read_motion_lora(source) -> MotionLora:
    """Read a motion LoRA (AnimateDiff's or diffusers' spelling) from a path or a state dict.

    Raises ValueError for a file of another kind, unknown keys, or a lone up or down matrix.
    """
    state, name = _read(source)
    layout = detect_layout(state)
    if layout != "motion_lora":
        raise ValueError(refusal(name, state, layout, "motion_lora", "motion LoRA"))
    sides: dict[tuple[str, int, str], dict[bool, Tensor]] = {}
    unknown = []
    for key, tensor in state.items():
        found = site_key(key)
        match = _PART.match(found[1]) if found else None
        if match is None:
            unknown.append(key)
            continue
        layer = (found[0], int(match["attention"]), match["part"])
        sides.setdefault(layer, {})[match["side"] in _DOWN_SIDES] = tensor
    unknown += [
        f"{'.'.join(map(str, layer))} (lacks its other half)"
        for layer, pair in sides.items()
        if len(pair) < 2
    ]
    if unknown:
        raise ValueError(f"'{name}' is nearest to a motion LoRA, but differs at: {', '.join(unknown[:5])}")
    return MotionLora({layer: (pair[False], pair[True]) for layer, pair in sides.items()}, Path(name).stem)


def lora_patches(model: MotionModel, lora: MotionLora) -> tuple[list[LoraPatch], list[str]]:
    """Changes to the parameters of `model`, and messages about skipped keys.

    The middle block's part is skipped with a message when `model` has none (AnimateDiff v1 and v3). Raises
    ValueError when the LoRA fits neither the sites nor the widths of `model`.
    """
    index = {site: (i, width) for i, (site, width) in enumerate(model.config.sites())}
    patches, skipped = [], 0
    for (site, attention, part), (up, down) in lora.layers.items():
        if site not in index and site.startswith("mid_block."):
            skipped += 1
            continue
        where, width = index.get(site, (None, None))
        if where is None or attention >= model.config.attentions:
            raise ValueError(
                f"Motion LoRA '{lora.name}' changes {site} attention {attention}, which this module lacks"
            )
        if up.shape[0] != width or down.shape[1] != width or up.shape[1] != down.shape[0]:
            raise ValueError(
                f"Motion LoRA '{lora.name}' is {up.shape[0]} wide at {site}, this motion module "
                f"is {width} wide: it was made for another module"
            )
        layer = f"sites.{where}.attentions.{attention}"
        if part == "out":
            patches.append(LoraPatch(f"{layer}.out.weight", None, up, down))
        else:
            patches.append(LoraPatch(f"{layer}.qkv.weight", (0, "qkv".index(part) * width, width), up, down))
    messages = [
        f"Motion LoRA '{lora.name}': {skipped} layers of the middle block skipped, this module has none"
    ]
    return patches, messages if skipped else []


@torch.no_grad()
def merge_lora(model: MotionModel, lora: MotionLora, strength: float = 1.0) -> list[str]:
    """Add `strength` times the LoRA to `model` in place; returns messages about skipped layers."""
    patches, messages = lora_patches(model, lora)
    for patch in patches:
        weight = model.get_parameter(patch.key)
        part = weight if patch.part is None else weight.narrow(*patch.part)
        rank = patch.down.shape[0]
        factor = strength * (1.0 if patch.alpha is None else patch.alpha / rank)
        change = factor * (patch.up.float() @ patch.down.float())
        part.copy_(part.float() + change.to(part.device))
    return messages


def read_domain_adapter(source) -> dict[str, Tensor]:
    """Read AnimateDiff v3's domain adapter as an ordinary UNet LoRA (`lora_unet_..._to_q.lora_down.weight`).

    ComfyUI's LoRA loader, and every other that knows this spelling, matches all keys. Raises ValueError for
    other files.
    """
    state, name = _read(source)
    layout = detect_layout(state)
    if layout != "domain_adapter":
        raise ValueError(refusal(name, state, layout, "domain_adapter", "domain adapter"))
    renamed, unknown = {}, []
    for key, tensor in state.items():
        match = _ADAPTER.search(key)
        side = (
            "lora_down" if key.endswith(".down.weight") else "lora_up" if key.endswith(".up.weight") else None
        )
        if match is None or side is None:
            unknown.append(key)
            continue
        part = "out_0" if match["part"] == "out" else match["part"]
        renamed[f"lora_unet_{match['layer'].replace('.', '_')}_to_{part}.{side}.weight"] = tensor
    if unknown:
        raise ValueError(f"'{name}' is nearest to a domain adapter, but differs at: {', '.join(unknown[:5])}")
    return renamed


def _read(source) -> tuple[dict[str, Tensor], str]:
    if isinstance(source, Mapping):
        return unwrap(dict(source)), "the state dict"
    return read_weights(source)[0], Path(source).name
