"""Video ControlNets in the host: a net as a model of the host's, and a control that sees clips.

A control runs for all conditions of a step at once. What the host passes on tells it the frames of the
context window, and which conditions are to be evaluated without LoRA: so it works with stock samplers, with
windows, and chained with other ControlNets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import comfy.model_management
import comfy.ops
import torch
from comfy.controlnet import ControlBase
from comfy.model_patcher import ModelPatcher

from ...core.control.batching import residuals_of_clips
from ...core.control.layouts import missing_parts, read_video_controlnet
from ...core.control.lora import BASE, LoraMix, check_mix
from ...core.control.network import VideoControlNet
from ...core.prompts.schedule import Key, check_range, values_at
from .hints import Hint
from .patching import frame_index
from .windows import FrameWindow

BASE_CONDS = "choreo_base_conds"  # key in transformer_options: entries of cond_or_uncond to run without LoRA


def load_control_file(path: str, parts: Mapping[str, str] | None = None) -> ModelPatcher:
    """Load a video ControlNet as a VIDEO_CONTROLNET, with LoRA parts from other files by role.

    What is missing of its LoRAs is logged. The host picks the precision as for UNets, casts and offloads.
    Raises ValueError as `read_video_controlnet`.
    """
    net = read_video_controlnet(
        path,
        ops=comfy.ops.manual_cast,
        device=comfy.model_management.unet_offload_device(),
        dtype=comfy.model_management.unet_dtype(),
        parts=parts,
    )
    for line in missing_parts(net):
        logging.info("Video ControlNet: %s", line)
    return control_patcher(net)


def control_patcher(net: VideoControlNet) -> ModelPatcher:
    """A core VideoControlNet as a VIDEO_CONTROLNET: a ModelPatcher, so that the host can load it."""
    return ModelPatcher(
        net.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


@dataclass(frozen=True)
class ControlOptions:
    """How a control acts: `strength`, times `strength_keys` at frames, from `start_percent` to `end_percent`.

    Raises ValueError for an empty range.
    """

    strength: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    strength_keys: tuple[Key, ...] = ()

    def __post_init__(self):
        """Check the range."""
        if self.end_percent <= self.start_percent:
            raise ValueError(
                f"end_percent is {self.end_percent:g}, "
                f"it must be larger than start_percent, {self.start_percent:g}"
            )


class VideoControl(ControlBase):
    """One application of a video ControlNet: its net, what it is given, and its LoRA mix."""

    reads_context_window = True

    def __init__(self, net: ModelPatcher, hint: Hint, options: ControlOptions, mix: LoraMix = BASE):
        """Take the parts; raises ValueError when the net lacks a LoRA of the mix."""
        super().__init__()
        check_mix(net.model, mix)
        self.net, self.hint, self.options, self.mix = net, hint, options, mix
        self.set_cond_hint(None, options.strength, (options.start_percent, options.end_percent))
        self.model_sampling = None

    def copy(self) -> VideoControl:
        """A copy that shares the net; the host's nodes chain it to other ControlNets."""
        copied = VideoControl(self.net, self.hint, self.options, self.mix)
        self.copy_to(copied)
        return copied

    def get_models(self) -> list[ModelPatcher]:
        """What the host loads for sampling."""
        return [*super().get_models(), self.net]

    def pre_run(self, model, percent_to_timestep_function) -> None:
        """Before sampling: check that the net was made for this model. Raises ValueError."""
        super().pre_run(model, percent_to_timestep_function)
        check_fit(self.net.model, model)
        self.model_sampling = model.model_sampling
        self.hint.prepare(model)

    def cleanup(self) -> None:
        """After sampling."""
        self.model_sampling = None
        super().cleanup()

    def get_control(self, x_noisy, t, cond, batched_number, transformer_options) -> dict | None:
        """Residuals for the UNet's skips and middle, as the host's `apply_control` takes them.

        `x_noisy` ((C F), 4, h, w) for C conditions, `t` its sigmas; raises ValueError where the hint does not
        fit the clip.
        """
        previous = self.previous_controlnet
        if previous is not None:
            previous = previous.get_control(x_noisy, t, cond, batched_number, transformer_options)
        start, end = self.timestep_range
        if not end <= t[0] <= start:
            return previous
        index = frame_index(x_noisy.shape[0], transformer_options)
        frames = clip_frames_of(index, transformer_options.get("context_window"))
        device, dtype = x_noisy.device, self._dtype()
        condition = self.hint.condition(frames, index, tuple(x_noisy.shape[2:]))
        down, mid = residuals_of_clips(
            self.net.model,
            condition.to(device, dtype),
            self.model_sampling.timestep(t),
            cond.get("crossattn_controlnet", cond["c_crossattn"]).to(device, dtype),
            self._mixes(frames, index, transformer_options),
            self._frame_strength(frames, index),
        )
        return self.control_merge({"middle": [mid], "output": list(down)}, previous, x_noisy.dtype)

    def _mixes(self, frames: int, index: Sequence[int], transformer_options: dict) -> list[LoraMix]:
        """The LoRA mix of each condition in the batch."""
        self.mix.check(frames)
        mix, without = self.mix.at(index), transformer_options.get(BASE_CONDS, ())
        return [BASE if entry in without else mix for entry in transformer_options["cond_or_uncond"]]

    def _frame_strength(self, frames: int, index: Sequence[int]) -> float | torch.Tensor:
        keys = self.options.strength_keys
        check_range(keys, frames)
        return values_at(keys, index) if keys else 1.0

    def _dtype(self) -> torch.dtype:
        """What the net computes in: its weights' type, or what this device can do instead."""
        weights = next(self.net.model.parameters()).dtype
        return comfy.model_management.unet_manual_cast(weights, self.net.load_device) or weights


def clip_frames_of(index: Sequence[int], window) -> int:
    """Frames of the clip of which this window has `index`; raises ValueError for the host's own windows."""
    if window is None:
        return len(index)
    if not isinstance(window, FrameWindow):
        raise ValueError(
            "ComfyUI's own context windows do not divide frame batches; use Choreographer's 'Context Windows'"
        )
    return window.clip_frames


def check_fit(net, model, what: str = "The video ControlNet") -> None:
    """Raise ValueError when the host's `model` has not the levels and widths that the net was made for."""
    unet, config = model.diffusion_model, net.config
    if not hasattr(unet, "input_blocks") or not hasattr(unet, "channel_mult"):
        raise ValueError(
            f"{what} is made for Stable Diffusion 1.5, the model is {type(model).__name__}"
        )
    theirs = tuple(unet.model_channels * factor for factor in unet.channel_mult)
    if theirs != config.channels or set(unet.num_res_blocks) != {config.layers_per_block}:
        raise ValueError(
            f"{what} was made for a model of widths {config.channels} with "
            f"{config.layers_per_block} layers a level, this model has {theirs} with "
            f"{', '.join(map(str, sorted(set(unet.num_res_blocks))))}"
        )


def apply_control(conditionings: Sequence[list], make: Callable[[], VideoControl]) -> list[list]:
    """Copies of CONDITIONINGs with a control made by `make`, in front of the ControlNets that they have.

    Conditions with the same ControlNets get the same control, so that the host can run them in one batch.
    """
    made: dict[int, VideoControl] = {}

    def controlled(part: dict) -> dict:
        previous = part.get("control")
        if id(previous) not in made:
            made[id(previous)] = make().set_previous_controlnet(previous)
        return {**part, "control": made[id(previous)], "control_apply_to_uncond": False}

    return [[[text, controlled(part)] for text, part in conditioning] for conditioning in conditionings]


def uses_lora(conds: Sequence[dict]) -> bool:
    """Whether a control of ours with a LoRA is on any of the conditions."""

    def chain(control):
        while control is not None:
            yield control
            control = control.previous_controlnet

    controls = (control for cond in conds for control in chain(cond.get("control")))
    return any(isinstance(control, VideoControl) and control.mix.acting for control in controls)
