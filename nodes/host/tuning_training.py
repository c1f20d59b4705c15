"""Tune a host model on one clip: core's recipe, on the host's UNet and text encoder."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import comfy.model_management
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.training.loop import Plan
from ...core.training.tune import LEARNING_RATE, TARGETS, fresh_tuning, train_tuning, tuning_plan
from ...core.tuning.attach import TuningState, attach
from ...core.tuning.layouts import save_tuning
from ...core.tuning.network import VideoTuning
from .files import LORAS
from .nets import as_patcher, difference_dtype
from .trainable import prediction
from .training import HostFamily, check_model, curve, encode_captions, reporter
from .training_runs import drop_run, numbered_path, precision, run_folder


@dataclass(frozen=True)
class TuneSettings:
    """What the user asks of a run; `save_prefix` "" keeps no file."""

    steps: int = 300
    learning_rate: float = LEARNING_RATE
    seed: int = 0
    shared_norm: bool = False
    save_prefix: str = ""


class TuningFamily(HostFamily):
    """A host model with a tuning attached, as the recipe sees one."""

    def __init__(self, model: ModelPatcher, contexts: dict[str, Tensor], caption: str, frames: int):
        """Copy the weights of a loaded model; see `HostFamily`."""
        super().__init__(model, None, contexts)
        self.state, self.caption = TuningState(frames=frames), caption
        self.sampling, self.target = model.get_model_object("model_sampling"), prediction(model)

    def predict_clip(self, noisy: Tensor, steps: Tensor) -> Tensor:
        """What the model predicts for clips (B, F, 4, h, w) at training steps (B,)."""
        frames = noisy.shape[1]
        found = self.predict(noisy.flatten(0, 1), steps, [self.caption] * len(noisy), frames)
        return found.unflatten(0, noisy.shape[:2])


def tune_on_clip(model, clip, latent: dict, caption: str, settings: TuneSettings):
    """Tune on one clip; `model` and `clip` stay as they are.

    Arguments: model: ModelPatcher of a Stable Diffusion 1.x or 2.x model. latent: LATENT (F, 4, h, w), the
    frames of one clip. caption: what it shows.

    Returns: VIDEO_TUNING, loss curve (1, H, W, 3) in 0..1. Raises: ValueError, before training, for inputs
    that do not belong together; the host's interrupt exception when the user cancels, after what was learnt
    has been kept: in a file, if one was asked for, and for the next run of the same settings.
    """
    samples = latent["samples"]
    check_model(model, clip, None, TARGETS)
    if samples.ndim != 4 or len(samples) < 2:
        raise ValueError(f"The latent is {tuple(samples.shape)}; expected the frames of one clip, 2 or more")
    contexts = encode_captions(clip, [caption])
    comfy.model_management.load_models_gpu([model], force_full_load=True)
    losses: list[float] = []
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        family = TuningFamily(model, contexts, caption, len(samples))
        tuning = fresh_tuning(family.unet, settings.shared_norm, settings.save_prefix).to(family.device)
        latents = model.model.process_latent_in(samples.clone().float()).to(family.device)
        plan = plan_of(family, latents, settings)
        run(family, tuning, latents, plan, settings, losses)
    return finish(tuning, plan), curve(losses)


def plan_of(family: TuningFamily, latents: Tensor, settings: TuneSettings) -> Plan:
    """The plan, with a folder that only the same settings, model and clip find again."""
    weights = (part.values() for part in (family.weights, family.contexts))
    told = (family.caption, family.target)
    folder = run_folder("", settings, told, latents, family.sampling.sigmas, *weights)
    kept = {"precision": precision(family.device), "save_every": 100}
    return tuning_plan(settings.steps, folder, settings.learning_rate, settings.seed, **kept)


def run(
    family: TuningFamily,
    tuning: VideoTuning,
    latents: Tensor,
    plan: Plan,
    settings: TuneSettings,
    losses: list,
) -> None:
    """The recipe with the tuning attached; fills `losses`, leaves what was learnt in `tuning`, and saves it.

    Raises the host's interrupt after what was learnt is kept.
    """
    kept = 1 / (1 + family.sampling.sigmas.cpu().double() ** 2)
    attachments = attach(family.unet, family.state, tuning)
    interrupted = comfy.model_management.processing_interrupted
    try:
        train_tuning(family, tuning, latents, kept, family.target, plan, reporter(losses), interrupted)
    finally:  # the host's layers raise its interrupt in mid-step
        for attachment in attachments:
            attachment.remove()
        if settings.save_prefix and losses:
            path = numbered_path(LORAS, settings.save_prefix)
            save_tuning(tuning, path, {"training": asdict(settings)})
    comfy.model_management.throw_exception_if_processing_interrupted()


def finish(tuning: VideoTuning, plan: Plan) -> ModelPatcher:
    """Drop the run's checkpoint, and give the tuning to the host."""
    drop_run(plan.folder)
    where = comfy.model_management.unet_offload_device()
    ours = VideoTuning(tuning.config, comfy.ops.manual_cast, where, difference_dtype())
    ours.load_state_dict(tuning.state_dict())
    return as_patcher(ours)
