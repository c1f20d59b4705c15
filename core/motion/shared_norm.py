"""AnimateDiff v1's group norms: the UNet's ResBlocks were trained with statistics over all frames of a clip.

Done by hooks on the norms that exist, like everything else a motion model does to a UNet: on the way in (B F)
C H W becomes B C F H W, so the same GroupNorm takes its statistics over a clip, and clips (cond and uncond
too) never mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import nn

from .attach import Attachment, MotionState, attach
from .model import MotionModel
from .sites import find_sites


class Clips(Protocol):
    """What the hooks ask before each call: whether to act, and how many frames a clip has."""

    active: bool
    frames: int


def resblock_norms(module: nn.Module) -> tuple[str, ...]:
    """Names of the two norms of every ResBlock in a module, in ComfyUI's and in diffusers' spelling."""
    names = []
    for name, part in module.named_modules():
        if hasattr(part, "in_layers") and hasattr(part, "out_layers"):
            names += [f"{name}.in_layers.0", f"{name}.out_layers.0"]
        elif hasattr(part, "norm1") and hasattr(part, "conv_shortcut"):
            names += [f"{name}.norm1", f"{name}.norm2"]
    return tuple(names)


def shared_norm_targets(unet: nn.Module) -> tuple[str, ...]:
    """Names of the norms concerned: two in every ResBlock, one before the last convolution (45 on SD1.5).

    Takes ComfyUI's UNetModel and diffusers' UNet2DConditionModel; raises ValueError for anything else.
    """
    names = resblock_norms(unet)
    if not names:
        raise ValueError(
            f"{type(unet).__name__} has no residual blocks whose norms could be shared over frames"
        )
    last = "conv_norm_out" if hasattr(unet, "conv_norm_out") else "out.0"
    return (*names, last)


def share_norms(unet: nn.Module, state: Clips) -> Attachment:
    """Let the norms of `shared_norm_targets` run over clips of `state.frames` frames while `state.active`."""
    return share(unet, shared_norm_targets(unet), state)


def share(module: nn.Module, names: Sequence[str], state: Clips) -> Attachment:
    """`share_norms` for the norms of these names."""
    handles = []
    for name in names:
        norm = module.get_submodule(name)
        handles.append(norm.register_forward_pre_hook(_gather(state)))
        handles.append(norm.register_forward_hook(_scatter))
    return Attachment(handles)


def attach_motion(model: MotionModel, unet: nn.Module, state: MotionState) -> list[Attachment]:
    """`attach` to the sites of a UNet, with shared norms where the module was trained with them.

    Raises ValueError, before any hook is set, for a module that is made for another UNet.
    """
    found = [attach(model, find_sites(unet, model.config.mid_block), state)]
    return [*found, share_norms(unet, state)] if model.config.shared_norm else found


def _gather(state: Clips):
    def run(_norm, inputs):
        x = inputs[0]
        if (
            not state.active or x.ndim == 5
        ):  # five: another v1 module on the same UNet has gathered it already
            return None
        if x.shape[0] % state.frames:
            raise ValueError(f"A batch of {x.shape[0]} does not divide into clips of {state.frames} frames")
        return (x.unflatten(0, (-1, state.frames)).transpose(1, 2), *inputs[1:])

    return run


def _scatter(_norm, _inputs, output):
    return output.transpose(1, 2).flatten(0, 1) if output.ndim == 5 else None
