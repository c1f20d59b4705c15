"""Put a motion module on a model: a clone of its ModelPatcher that runs the module while it samples."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import comfy.model_management
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import PatcherInjection, WrappersMP

from ...core.motion.attach import Attachment, MotionState, attach
from ...core.motion.model import MotionModel
from ...core.motion.shared_norm import share_norms
from ...core.motion.sites import find_sites
from ...core.prompts.schedule import Key, values_at
from .preview import add_clip_preview
from .schedules import apply_beta_schedule
from .windows import FrameWindows

SCHEDULE_FRAMES = "choreo_frames"  # key in a conditioning's dict: frames of the prompt schedule that made it


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


def motion_patcher(motion: MotionModel) -> ModelPatcher:
    """A core MotionModel as a MOTION_MODEL: a ModelPatcher, so that the host can load and patch it."""
    return ModelPatcher(
        motion.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def apply_motion_module(
    model: ModelPatcher, motion: ModelPatcher, options: MotionOptions | None = None
) -> ModelPatcher:
    """A clone of `model` that samples clips with the motion module; `model` itself stays as it is.

    Raises ValueError when the module does not fit the model, or is on it already with other motion LoRAs.
    """
    options = options or MotionOptions()
    if options.end_percent <= options.start_percent:
        raise ValueError(
            f"end_percent is {options.end_percent:g}, "
            f"it must be larger than start_percent, {options.start_percent:g}"
        )
    _check_fit(model, motion)
    model, run, key = model.clone(), MotionRun(motion.model, options), f"choreo_motion_{uuid.uuid4().hex}"
    model.set_additional_models(key, [motion])
    model.set_injections(key, [PatcherInjection(inject=run.inject, eject=run.eject)])
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, key, run.sample)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, key, run.apply)
    add_clip_preview(model)
    apply_beta_schedule(model, options.beta_schedule, motion.model.config.beta_schedule)
    return model


def _check_fit(model: ModelPatcher, motion: ModelPatcher) -> None:
    """Attach for a moment: core says in one sentence what does not fit."""
    name = type(model.model).__name__
    try:
        _remove(_attach(model.model.diffusion_model, motion.model, MotionState(active=False)))
    except ValueError as error:
        kind = (
            ""
            if name == "BaseModel"
            else f" (the model is {name}; motion modules are made for Stable Diffusion 1.5)"
        )
        raise ValueError(f"{error}{kind}") from None
    for other in model.get_additional_models():
        if other.model is motion.model and other.patches_uuid != motion.patches_uuid:
            raise ValueError(
                "This motion module is on the model already, with other motion LoRAs: chain the LoRAs into "
                "one "
                "'Apply Motion Module' instead"
            )


def _attach(unet, motion: MotionModel, state: MotionState) -> list[Attachment]:
    attachments = [attach(motion, find_sites(unet, motion.config.mid_block), state)]
    return [*attachments, share_norms(unet, state)] if motion.config.shared_norm else attachments


def _remove(attachments: list[Attachment]) -> None:
    while attachments:
        attachments.pop().remove()


class MotionRun:
    """One application of a motion module: its hooks, and what they are told at each call of the UNet.

    The hooks do nothing except inside `apply`, so a UNet that other model nodes share is never changed by
    leftovers.
    """

    def __init__(self, motion: MotionModel, options: MotionOptions):
        """Nothing is attached yet; the host injects when it loads the model."""
        self.motion, self.options = motion, options
        self.state = MotionState(active=False)
        self._attachments: list[Attachment] = []

    def inject(self, patcher) -> None:
        """Attach to the UNet of `patcher`."""
        self.eject(patcher)
        self._attachments = _attach(patcher.model.diffusion_model, self.motion, self.state)

    def eject(self, _patcher) -> None:
        """Take the hooks off; also when there are none."""
        _remove(self._attachments)

    def sample(self, executor, noise, *args, **kwargs):
        """OUTER_SAMPLE wrapper: check the clip first, and leave the UNet clean however sampling ends."""
        guider = executor.class_obj
        check_clip(noise.shape[0], guider.model_options.get("context_handler"), self.motion.config.max_frames)
        check_conditioning(noise.shape[0], guider.conds)
        try:
            return executor(noise, *args, **kwargs)
        finally:
            guider.model_patcher.eject_model()
            self.eject(guider.model_patcher)

    def apply(
        self,
        executor,
        x,
        t,
        c_concat=None,
        c_crossattn=None,
        control=None,
        transformer_options=None,
        **kwargs,
    ):
        """APPLY_MODEL wrapper: tell the hooks about this batch, and silence them after it.

        The hooks are put back if something took them off in mid-run, such as a clone that was thrown away.
        """
        base, transformer_options = executor.class_obj, transformer_options or {}
        if not self._attachments:
            self._attachments = _attach(base.diffusion_model, self.motion, self.state)
        self._tell(x.shape[0], t, base.model_sampling, transformer_options)
        try:
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
        finally:
            self.state.active = False

    def _tell(self, batch: int, sigma, model_sampling, transformer_options: dict) -> None:
        index = frame_index(batch, transformer_options)
        self.state.frames = len(index)
        self.state.scale = None if self.options.scale == 1.0 else self.options.scale
        self.state.effect = self._effect(index)
        self.state.active = self.options.effect != 0.0 and self._in_range(sigma, model_sampling)

    def _effect(self, index: Sequence[int]):
        options = self.options
        if options.effect_keys:
            return values_at(options.effect_keys, index) * options.effect
        return None if options.effect == 1.0 else options.effect

    def _in_range(self, sigma, model_sampling) -> bool:
        """Whether this sigma lies in the part of sampling where the module acts."""
        start, end = self.options.start_percent, self.options.end_percent
        if start <= 0.0 and end >= 1.0:
            return True
        now = float(sigma.flatten()[0])
        return model_sampling.percent_to_sigma(end) < now <= model_sampling.percent_to_sigma(start)


def frame_index(batch: int, transformer_options: dict) -> Sequence[int]:
    """Indices in the clip of the frames of one condition in this batch, read from what the host says.

    The batch holds all frames of the clip, or of the context window, once for each entry of `cond_or_uncond`.
    Raises ValueError when it does not, because a node between sampler and model took it apart.
    """
    conditions = len(transformer_options.get("cond_or_uncond", (0,)))
    window = transformer_options.get("context_window")
    frames = batch // conditions if window is None else len(window.index_list)
    if frames * conditions != batch:
        raise ValueError(
            f"The model was called with {batch} latents for {conditions} conditions of {frames} "
            "frames; nodes that split or tile the batch inside the sampler do not work with motion modules"
        )
    return range(frames) if window is None else window.index_list


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


def check_conditioning(frames: int, conds: dict) -> None:
    """Raise ValueError when a prompt schedule was made for a clip of another length."""
    for cond in (cond for group in conds.values() for cond in group):
        made_for = cond.get(SCHEDULE_FRAMES, frames)
        if made_for != frames:
            raise ValueError(
                f"The prompt schedule has {made_for} frames, the latent has {frames}: "
                "set the same number in both"
            )
