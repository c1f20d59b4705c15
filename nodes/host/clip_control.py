"""Controls that see clips: what the controls of all nets of this pack have in common.

A control runs for all conditions of a step at once. What the host passes on tells it the frames of the
context window: so it works with stock samplers, with windows, and chained with other ControlNets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import comfy.model_management
from comfy.controlnet import ControlBase
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.prompts.schedule import Key, check_range, values_at
from .hooks import check_percents, frame_index
from .windows import FrameWindow


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
        check_percents(self)


class ClipControl(ControlBase):
    """One application of a net to clips. What differs between nets is `residuals` and `what`, their name."""

    reads_context_window = True
    what = "The ControlNet"

    def __init__(self, net: ModelPatcher, options: ControlOptions):
        """Take the parts."""
        super().__init__()
        self.net, self.options = net, options
        self.set_cond_hint(None, options.strength, (options.start_percent, options.end_percent))
        self.model_sampling = None

    def residuals(
        self, x: Tensor, t: Tensor, text: Tensor, frames: int, index: Sequence[int], transformer_options: dict
    ) -> tuple[Sequence[Tensor], Tensor]:
        """The net's residuals for the UNet's skips, and for its middle.

        `x` ((C F), 4, h, w) for C conditions, `t` its sigmas, `text` the conditions' text in the net's
        precision; `index` are the frames in the batch, of a clip of `frames`.
        """
        raise NotImplementedError

    def get_models(self) -> list[ModelPatcher]:
        """What the host loads for sampling; a net of strength 0 is not needed."""
        return [*super().get_models(), *([self.net] if self.strength else [])]

    def pre_run(self, model, percent_to_timestep_function) -> None:
        """Before sampling: check that the net was made for this model. Raises ValueError."""
        super().pre_run(model, percent_to_timestep_function)
        check_fit(self.net.model, model, self.what)
        self.model_sampling = model.model_sampling

    def cleanup(self) -> None:
        """After sampling."""
        self.model_sampling = None
        super().cleanup()

    def get_control(self, x_noisy, t, cond, batched_number, transformer_options) -> dict | None:
        """Residuals for the UNet's skips and middle, as the host's `apply_control` takes them.

        `x_noisy` ((C F), 4, h, w) for C conditions, `t` its sigmas; raises ValueError where what the net is
        given does not fit the clip.
        """
        previous = self.previous_controlnet
        if previous is not None:
            previous = previous.get_control(x_noisy, t, cond, batched_number, transformer_options)
        if not self.acts_at(t):
            return previous
        index = frame_index(x_noisy.shape[0], transformer_options)
        frames = clip_frames_of(index, transformer_options.get("context_window"))
        weights = next(self.net.model.parameters()).dtype
        dtype = comfy.model_management.unet_manual_cast(weights, self.net.load_device) or weights
        text = cond.get("crossattn_controlnet", cond["c_crossattn"]).to(x_noisy.device, dtype)
        check_text(text, self.net.model.config.context, self.what)
        down, mid = self.residuals(x_noisy, t, text, frames, index, transformer_options)
        return self.control_merge({"middle": [mid], "output": list(down)}, previous, output_dtype=None)

    def acts_at(self, sigma: Tensor) -> bool:
        """Whether it changes anything at a batch's sigmas, while sampling."""
        start, end = self.timestep_range
        return self.strength != 0 and bool(end <= sigma[0] <= start)

    def frame_strength(self, frames: int, index: Sequence[int]) -> float | Tensor:
        """The strength of each frame in `index`, or one number for all."""
        keys = self.options.strength_keys
        check_range(keys, frames, "strength_schedule")
        return values_at(keys, index) if keys else 1.0


def clip_frames_of(index: Sequence[int], window) -> int:
    """Frames of the clip of which this window has `index`; raises ValueError for the host's own windows."""
    if window is None:
        return len(index)
    if not isinstance(window, FrameWindow):
        raise ValueError(
            "ComfyUI's own context windows do not divide frame batches; use Choreographer's 'Context Windows'"
        )
    return window.clip_frames


def check_text(text: Tensor, width: int, what: str) -> None:
    """Raise ValueError for text states (N, T, C) of another width: those of another kind of model."""
    if text.shape[-1] != width:
        raise ValueError(
            f"{what} takes text states {width} wide, the prompt's are {text.shape[-1]} wide; use the text "
            "encoder and model that it was made for, such as Stable Diffusion 1.5"
        )


def check_fit(net, model, what: str) -> None:
    """Raise ValueError when the host's `model` has not the levels and widths that the net was made for."""
    unet, config = model.diffusion_model, net.config
    if not hasattr(unet, "input_blocks") or not hasattr(unet, "channel_mult"):
        raise ValueError(f"{what} is made for Stable Diffusion 1.5, the model is {type(model).__name__}")
    theirs = tuple(unet.model_channels * factor for factor in unet.channel_mult)
    if theirs != config.channels or set(unet.num_res_blocks) != {config.layers_per_block}:
        raise ValueError(
            f"{what} was made for a model of widths {config.channels} with "
            f"{config.layers_per_block} layers a level, this model has {theirs} with "
            f"{', '.join(map(str, sorted(set(unet.num_res_blocks))))}"
        )
