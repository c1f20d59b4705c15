"""Attach a motion model to a UNet by forward hooks: nothing is inserted, so no weight's name moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .model import MotionModel
from .sites import Site


@dataclass
class MotionState:
    """What the modules of one attachment need for a call; the host sets it before each call of the UNet.

    `frames` is the length of each clip in the batch; `scale` multiplies attention logits; `effect`, a number
    or a tensor (F,), multiplies what the modules add; `places` (F,) are the frames' numbers where they are
    not 0 to F-1. With `active` False the UNet runs as if nothing were attached.
    """

    frames: int = 0
    scale: float | None = None
    effect: float | Tensor | None = None
    places: Tensor | None = None
    active: bool = True


class Attachment:
    """The hooks of one motion model on one UNet."""

    def __init__(self, handles):
        """Keep the hook handles."""
        self._handles = list(handles)

    def remove(self) -> None:
        """Take the hooks off; a second call does nothing."""
        while self._handles:
            self._handles.pop().remove()


def attach(model: MotionModel, sites: Sequence[Site], state: MotionState) -> Attachment:
    """Run each module of `model` after the site of the same index, and return the handle that undoes it.

    Raises ValueError, before any hook is set, when the number of sites or the width of one differs.
    """
    title = f"Motion module '{model.config.name}'" if model.config.name else "The motion module"
    kind = "it was made for another kind of model"
    if len(sites) != len(model.sites):
        raise ValueError(
            f"{title} has {len(model.sites)} parts, this UNet has {len(sites)} places for them: {kind}"
        )
    for (name, width), site in zip(model.config.sites(), sites, strict=True):
        if width != site.channels:
            raise ValueError(
                f"{title} is {width} wide at {name}, this UNet is {site.channels} wide there: {kind}"
            )
    return Attachment(
        site.module.register_forward_hook(_hook(module, state))
        for module, site in zip(model.sites, sites, strict=True)
    )


def _hook(module: nn.Module, state: MotionState):
    def run(_layer, _inputs, output):
        if not state.active:
            return output
        settings = (state.frames, state.scale, state.effect, state.places)
        if isinstance(output, Tensor):
            return module(output, *settings)
        if isinstance(output, tuple):
            return (module(output[0], *settings), *output[1:])
        return type(output)(sample=module(output.sample, *settings))

    return run
