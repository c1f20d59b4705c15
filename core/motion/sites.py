"""Where motion modules attach: found from a UNet's structure, in ComfyUI's and in diffusers' spelling."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Site:
    """One place after which a motion module runs: the last spatial layer there, and its width."""

    name: str
    channels: int
    module: nn.Module


def find_sites(unet: nn.Module, mid_block: bool) -> tuple[Site, ...]:
    """Sites of a UNet in the order it runs them: after every ResBlock, or the spatial transformer behind it.

    They come before a block's down- or upsampler. `mid_block` adds the one after the middle attention
    (AnimateDiff v2). Takes ComfyUI's UNetModel and diffusers' UNet2DConditionModel; raises ValueError for
    anything else.
    """
    if hasattr(unet, "input_blocks") and hasattr(unet, "output_blocks"):
        find = _comfy_sites
    elif hasattr(unet, "down_blocks") and hasattr(unet, "up_blocks"):
        find = _diffusers_sites
    else:
        raise ValueError(
            "Motion modules attach to a Stable Diffusion UNet with down and up blocks; "
            f"got {type(unet).__name__}"
        )
    sites = find(unet, mid_block)
    if not sites:
        raise ValueError(f"{type(unet).__name__} has no residual blocks that a motion module could follow")
    return sites


def _comfy_sites(unet: nn.Module, mid_block: bool) -> tuple[Site, ...]:
    down = _comfy_half(unet.input_blocks, "down_blocks", ends_block=lambda site: site is None)
    up = _comfy_half(unet.output_blocks, "up_blocks", ends_block=_upsamples)
    mid = []
    if mid_block and unet.middle_block is not None:
        layers = list(unet.middle_block)
        last = next((layer for layer in layers if _is_attention(layer)), layers[0])
        mid = [Site("mid_block.motion_modules.0", layers[0].out_channels, last)]
    return (*down, *mid, *up)


def _comfy_half(blocks, prefix: str, ends_block) -> list[Site]:
    found, level, index = [], 0, 0
    for block in list(blocks):
        spatial = [layer for layer in block if _is_resblock(layer) or _is_attention(layer)]
        if spatial:
            name = f"{prefix}.{level}.motion_modules.{index}"
            found.append(Site(name, spatial[0].out_channels, spatial[-1]))
            index += 1
        if index and ends_block(block if spatial else None):
            level, index = level + 1, 0
    return found


def _is_resblock(layer: nn.Module) -> bool:
    """ResBlocks that change the resolution (`updown`) are samplers, and no site."""
    return (
        hasattr(layer, "in_layers") and hasattr(layer, "out_layers") and not getattr(layer, "updown", False)
    )


def _is_attention(layer: nn.Module) -> bool:
    return hasattr(layer, "transformer_blocks") and hasattr(layer, "proj_in")


def _upsamples(block) -> bool:
    return not (_is_resblock(block[-1]) or _is_attention(block[-1]))


def _diffusers_sites(unet: nn.Module, mid_block: bool) -> tuple[Site, ...]:
    found = []
    for prefix, blocks in (("down_blocks", unet.down_blocks), ("up_blocks", unet.up_blocks)):
        if prefix == "up_blocks" and mid_block and unet.mid_block is not None:
            first = _diffusers_layers(unet.mid_block)[0]
            found.append(Site("mid_block.motion_modules.0", *first))
        for i, block in enumerate(blocks):
            for j, (width, layer) in enumerate(_diffusers_layers(block)):
                found.append(Site(f"{prefix}.{i}.motion_modules.{j}", width, layer))
    return tuple(found)


def _diffusers_layers(block: nn.Module) -> list[tuple[int, nn.Module]]:
    resnets = list(getattr(block, "resnets", ()))
    attentions = list(getattr(block, "attentions", ()))
    attentions += [None] * (len(resnets) - len(attentions))
    return [
        (resnet.out_channels, resnet if attention is None else attention)
        for resnet, attention in zip(resnets, attentions, strict=False)
    ]
