"""Video ControlNets in the host: a net as a model of the host's, and a control that sees clips.

What the host passes on with a step tells a control which conditions are to be evaluated without LoRA.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.control.batching import residuals_of_clips
from ...core.control.layouts import missing_parts, read_video_controlnet
from ...core.control.lora import BASE, LoraMix, check_mix
from .clip_control import ClipControl, ControlOptions
from .hints import Hint
from .nets import load_net

BASE_CONDS = "choreo_base_conds"  # key in transformer_options: entries of cond_or_uncond to run without LoRA


def load_control_file(path: str, parts: Mapping[str, str] | None = None) -> ModelPatcher:
    """Load a video ControlNet as a VIDEO_CONTROLNET, with LoRA parts from other files by role.

    What is missing of its LoRAs is logged. The host picks the precision as for UNets, casts and offloads.
    Raises ValueError as `read_video_controlnet`.
    """
    patcher = load_net(read_video_controlnet, path, parts=parts)
    for line in missing_parts(patcher.model):
        logging.info("Video ControlNet: %s", line)
    return patcher


class VideoControl(ClipControl):
    """One application of a video ControlNet: its net, what it is given, and its LoRA mix."""

    what = "The video ControlNet"

    def __init__(self, net: ModelPatcher, hint: Hint, options: ControlOptions, mix: LoraMix = BASE):
        """Take the parts; raises ValueError when the net lacks a LoRA of the mix."""
        check_mix(net.model, mix)
        super().__init__(net, options)
        self.hint, self.mix = hint, mix

    def copy(self) -> VideoControl:
        """A copy that shares the net; the host's nodes chain it to other ControlNets."""
        copied = VideoControl(self.net, self.hint, self.options, self.mix)
        self.copy_to(copied)
        return copied

    def pre_run(self, model, percent_to_timestep_function) -> None:
        """Before sampling: check the net, and make ready what it is given. Raises ValueError."""
        super().pre_run(model, percent_to_timestep_function)
        self.hint.prepare(model)

    def residuals(
        self, x: Tensor, t: Tensor, text: Tensor, frames: int, index: Sequence[int], transformer_options: dict
    ) -> tuple[Sequence[Tensor], Tensor]:
        """The net's residuals, each condition with its own LoRA mix."""
        return residuals_of_clips(
            self.net.model,
            self.hint.condition(frames, index, tuple(x.shape[2:])).to(x.device, text.dtype),
            self.model_sampling.timestep(t),
            text,
            self._mixes(frames, index, transformer_options),
            self.frame_strength(frames, index),
        )

    def _mixes(self, frames: int, index: Sequence[int], transformer_options: dict) -> list[LoraMix]:
        """The LoRA mix of each condition in the batch."""
        self.mix.check(frames)
        mix, without = self.mix.at(index), transformer_options.get(BASE_CONDS, ())
        return [BASE if entry in without else mix for entry in transformer_options["cond_or_uncond"]]


def apply_control(conditionings: Sequence[list], make: Callable[[], ClipControl]) -> list[list]:
    """Copies of CONDITIONINGs with a control made by `make`, in front of the ControlNets that they have.

    Conditions with the same ControlNets get the same control, so that the host can run them in one batch.
    Raises ValueError for a prompt with an area: a net sees whole frames.
    """
    made: dict[int, ClipControl] = {}

    def controlled(part: dict) -> dict:
        if part.get("area") is not None or part.get("set_area_to_bounds"):
            raise ValueError(
                "A prompt with an area cannot carry a ControlNet that sees whole frames: use "
                "'Conditioning (Set Mask)' with 'default' instead"
            )
        previous = part.get("control")
        if id(previous) not in made:
            made[id(previous)] = make().set_previous_controlnet(previous)
        return {**part, "control": made[id(previous)], "control_apply_to_uncond": False}

    return [[[text, controlled(part)] for text, part in conditioning] for conditioning in conditionings]


def uses_lora(conds: Sequence[dict], sigma: Tensor | None = None) -> bool:
    """Whether a control of ours with a LoRA is on any of the conditions, and acts at `sigma` where given."""

    def chain(control):
        while control is not None:
            yield control
            control = control.previous_controlnet

    controls = (control for cond in conds for control in chain(cond.get("control")))
    ours = (control for control in controls if isinstance(control, VideoControl) and control.mix.acting)
    return any(sigma is None or control.acts_at(sigma) for control in ours)
