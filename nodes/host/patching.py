"""Put a motion module on a model: a clone of its ModelPatcher that runs the module while it samples."""

from __future__ import annotations

from dataclasses import dataclass

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.motion.attach import Attachment, MotionState
from ...core.motion.model import MotionModel
from ...core.motion.shared_norm import attach_motion
from ...core.prompts.schedule import Key, check_range, values_at
from .hooks import Call, HookRun, check_percents, frames_in_clip, in_range
from .preview import add_clip_preview
from .schedules import apply_beta_schedule
from .windows import FrameWindows


@dataclass(frozen=True)
class MotionOptions:
    """How a motion module acts.

    `scale` multiplies its attention logits, `effect` what it adds; `effect_keys` multiply `effect` at frames.
    It acts from `start_percent` to `end_percent` of sampling. `beta_schedule` is a core.schedules name,
    "auto" or "unchanged".
    """

    scale: float = 1.0
    effect: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    beta_schedule: str = "auto"
    effect_keys: tuple[Key, ...] = ()


def apply_motion_module(
    model: ModelPatcher, motion: ModelPatcher, options: MotionOptions | None = None
) -> ModelPatcher:
    """A clone of `model` that samples clips with the motion module; `model` itself stays as it is.

    Raises ValueError when the module does not fit the model, or is on it already with other motion LoRAs.
    """
    options = options or MotionOptions()
    check_percents(options)
    for other in model.get_additional_models():
        if other.model is motion.model and other.patches_uuid != motion.patches_uuid:
            raise ValueError(
                "This motion module is on the model already, with other motion LoRAs: chain the LoRAs into "
                "one 'Apply Motion Module' instead"
            )
    try:
        moved = MotionRun(motion.model, options).put_on(model, "choreo_motion", [motion])
    except ValueError as error:
        name = type(model.model).__name__
        kind = f" (the model is {name}; motion modules are made for Stable Diffusion 1.5)"
        raise ValueError(f"{error}{'' if name == 'BaseModel' else kind}") from None
    add_clip_preview(moved)
    apply_beta_schedule(moved, options.beta_schedule, motion.model.config.beta_schedule)
    return moved


class MotionRun(HookRun):
    """One application of a motion module."""

    def __init__(self, motion: MotionModel, options: MotionOptions):
        """Take the parts."""
        super().__init__(MotionState())
        self.motion, self.options = motion, options
        self._numbers: list[int] = []

    def attach(self, unet) -> list[Attachment]:
        """A hook behind each site, and on the norms where the module needs it."""
        return attach_motion(self.motion, unet, self.state)

    def begin(self, noise: Tensor, guider) -> None:
        """Check the clip."""
        check_clip(noise.shape[0], guider.model_options.get("context_handler"), self.motion.config.max_frames)
        self._numbers, count = frames_in_clip(noise.shape[0], guider.model_options)
        check_range(self.options.effect_keys, count, "effect_schedule")

    def tell(self, call: Call) -> None:
        """How the module acts on these frames."""
        options, state = self.options, self.state
        state.scale = None if options.scale == 1.0 else options.scale
        state.effect = None if options.effect == 1.0 else options.effect
        if options.effect_keys:
            numbers = [self._numbers[i] for i in call.index]
            state.effect = values_at(options.effect_keys, numbers).to(call.x.device) * options.effect
        state.active = options.effect != 0.0 and in_range(call.sigma, call.sampling, options)


def check_clip(frames: int, handler, max_frames: int) -> None:
    """Raise ValueError, before sampling, for a number of frames that a motion module cannot do."""
    if frames == 1:
        raise ValueError(
            "The latent has 1 frame; a motion module needs several: set frames in 'Empty Video Latent'"
        )
    length = getattr(handler, "context_length", frames)
    if frames > length and getattr(handler, "dim", None) == 0 and not isinstance(handler, FrameWindows):
        raise ValueError(
            "ComfyUI's own context windows do not divide frame batches; use Choreographer's 'Context Windows'"
        )
    if min(frames, length) > max_frames:
        what = "The clip has" if frames <= length else "The context windows have"
        raise ValueError(
            f"{what} {min(frames, length)} frames, this motion module was trained for at most {max_frames}: "
            f"use 'Context Windows' of {max_frames} frames or fewer"
        )
