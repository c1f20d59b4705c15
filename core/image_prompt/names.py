"""Names of an image prompt model's weights: the published ones and those of our files and modules.

Published names are VideoBooth's: `mapping_0.0.weight`, `down_blocks_0_..._attn1_to_k_exemplar.weight` in the
mapper's file, and in a whole UNet `down_blocks.0...attn1.to_k_exemplar.weight`, `attn_temp`, `watermark_...`.
Files are read to PLACE/part, `cleaner.half/level.kind.index.part` and plain names; modules number the places
and the watermark module's layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from .network import ImagePromptConfig

_FLAT = re.compile(
    r"(?:(down|up)_blocks_(\d+)|mid_block)_attentions_(\d+)_transformer_blocks_(\d+)_(attn[12])_to_(.+)"
)
_DOTTED = re.compile(
    r"((?:(?:down|up)_blocks\.\d+|mid_block)\.attentions\.\d+\.transformer_blocks\.\d+)\.(.+)"
)
_MAPPING = re.compile(r"mapping_(patch_)?(\d+)\.(.+)")
_WATERMARK = re.compile(r"watermark_(down|up)_blocks\.(\d+\.(?:resnets|downsamplers|upsamplers)\.\d+\..+)")
_CLEANER = re.compile(r"cleaner\.(down|up)/(\d+)\.(\w+)\.(\d+)\.(.+)")
_PARTS = {
    **{f"attn1.to_{x}_exemplar.weight": f"picture.{x}.weight" for x in "kv"},
    **{f"attn1.to_{x}_new.weight": f"frame.{x}.weight" for x in "kv"},
    **{f"attn2.to_{x}_global.weight": f"text.{x}.weight" for x in "kv"},
    **{f"attn_temp.to_{x}.weight": f"temporal.{x}.weight" for x in "qkv"},
    **{f"attn_temp.to_out.0.{x}": f"temporal.out.{x}" for x in ("weight", "bias")},
    **{f"norm_temp.{x}": f"temporal.norm.{x}" for x in ("weight", "bias")},
}


def named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an image prompt model needs of published weights; the rest of a UNet is left out."""
    found = {our_name(key): tensor for key, tensor in state.items()}
    found.pop(None, None)
    return found


def our_name(key: str) -> str | None:
    """Our name of a published key; None for the weights of an ordinary UNet."""
    if match := _MAPPING.fullmatch(key):
        return f"mapper.{'patches' if match[1] else 'whole'}.{match[2]}.{match[3]}"
    if match := _WATERMARK.fullmatch(key):
        return f"cleaner.{match[1]}/{match[2]}"
    if key.startswith("watermark_zero_out."):
        return key.replace("watermark_zero_out", "cleaner.out")
    place, part = None, ""
    if match := _FLAT.fullmatch(key):
        level = f"{match[1]}_blocks.{match[2]}" if match[1] else "mid_block"
        place = f"{level}.attentions.{match[3]}.transformer_blocks.{match[4]}"
        part = re.sub(r"^attn2\.to_([kv])\.", r"attn2.to_\1_global.", f"{match[5]}.to_{match[6]}")
    elif match := _DOTTED.fullmatch(key):
        place, part = match[1], match[2]
    return f"{place}/{_PARTS[part]}" if part in _PARTS else None


def numbered(weights: Mapping[str, Tensor], config: ImagePromptConfig) -> dict[str, Tensor]:
    """The state dict of an `ImagePrompt` of that configuration from weights by our names."""
    number = {place.name: i for i, place in enumerate(config.places)}
    layers, found = _cleaner_layers(config), {}
    for key, tensor in weights.items():
        place, _, part = key.partition("/")
        if place in number:
            found[f"places.{number[place]}.{part}"] = tensor
        elif match := _CLEANER.fullmatch(key):
            half, level, kind, index, rest = match.groups()
            layer = layers.get((half, int(level), kind, int(index)), "unknown")
            rest = rest.removeprefix("conv.") if kind == "upsamplers" else rest
            found[f"cleaner.{half}.{layer}.{rest}"] = tensor
        else:
            found[key] = tensor
    return found


def _cleaner_layers(config: ImagePromptConfig) -> dict[tuple[str, int, str, int], int]:
    """Number of the watermark module's layer for each published (half, level, kind, index)."""
    order: dict[str, list] = {"down": [], "up": []}
    for level in range(len(config.cleaner)):
        last = level == len(config.cleaner) - 1
        for half, extra, sampler in (("down", 0, "downsamplers"), ("up", 1, "upsamplers")):
            order[half] += [(half, level, "resnets", i) for i in range(config.cleaner_layers + extra)]
            order[half] += [] if last else [(half, level, sampler, 0)]
    return {entry: number for entries in order.values() for number, entry in enumerate(entries)}


def by_place(state: Mapping[str, Tensor], config: ImagePromptConfig) -> dict[str, Tensor]:
    """The reverse of `numbered` for places, which our files call by name."""
    found = {}
    for key, tensor in state.items():
        head, _, rest = key.partition(".")
        number, _, part = rest.partition(".")
        found[f"{config.places[int(number)].name}/{part}" if head == "places" else key] = tensor
    return found


def published(state: Mapping[str, Tensor], config: ImagePromptConfig) -> dict[str, Tensor]:
    """An `ImagePrompt`'s state dict under the names of a whole published UNet; what it lacks is left out."""
    parts = {ours: theirs for theirs, ours in _PARTS.items()}
    layers = {(layer[0], number): layer[1:] for layer, number in _cleaner_layers(config).items()}
    found = {}
    for key, tensor in by_place(state, config).items():
        place, slash, part = key.partition("/")
        if slash and part in parts:
            found[f"{place}.{parts[part]}"] = tensor
        elif key.startswith("mapper."):
            _, kind, number, rest = key.split(".", 3)
            found[f"mapping_{'patch_' if kind == 'patches' else ''}{number}.{rest}"] = tensor
        elif key.startswith("cleaner.out."):
            found[key.replace("cleaner.out", "watermark_zero_out")] = tensor
        elif key.startswith("cleaner."):
            _, half, number, rest = key.split(".", 3)
            level, kind, index = layers[half, int(number)]
            rest = f"conv.{rest}" if kind == "upsamplers" else rest
            found[f"watermark_{half}_blocks.{level}.{kind}.{index}.{rest}"] = tensor
    return found
