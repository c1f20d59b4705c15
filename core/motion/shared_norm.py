"""AnimateDiff v1's group norms: the UNet's ResBlocks were trained with statistics over all frames of a clip.

Done by hooks on the norms that exist, like everything else a motion model does to a UNet: on the way in (B F)
C H W becomes B C F H W, so the same GroupNorm takes its statistics over a clip, and clips (cond and uncond
too) never mix.
"""

from __future__ import annotations

from torch import nn

from .attach import Attachment, MotionState


def shared_norm_targets(unet: nn.Module) -> tuple[str, ...]:
    """Names of the norms concerned: two in every ResBlock, one before the last convolution (45 on SD1.5).

    Takes ComfyUI's UNetModel and diffusers' UNet2DConditionModel; raises ValueError for anything else.
    """
    names = []
    for name, module in unet.named_modules():
        if hasattr(module, "in_layers") and hasattr(module, "out_layers"):
            names += [f"{name}.in_layers.0", f"{name}.out_layers.0"]
        elif hasattr(module, "norm1") and hasattr(module, "conv_shortcut"):
            names += [f"{name}.norm1", f"{name}.norm2"]
    if not names:
        raise ValueError(
            f"{type(unet).__name__} has no residual blocks whose norms could be shared over frames"
        )
    last = "conv_norm_out" if hasattr(unet, "conv_norm_out") else "out.0"
    return (*names, last)


def share_norms(unet: nn.Module, state: MotionState) -> Attachment:
    """Let the norms of `shared_norm_targets` run over clips of `state.frames` frames while `state.active`."""
    handles = []
    for name in shared_norm_targets(unet):
        norm = unet.get_submodule(name)
        handles.append(norm.register_forward_pre_hook(_gather(state)))
        handles.append(norm.register_forward_hook(_scatter))
    return Attachment(handles)


def _gather(state: MotionState):
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
