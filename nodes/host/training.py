"""Train a motion module on a host model: core's recipe, on the host's UNet and text encoder."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import comfy.model_management
import comfy.ops
import comfy.utils
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.model_patcher import ModelPatcher
from PIL import Image

from ...core.control.network import Residuals
from ...core.motion.attach import MotionState
from ...core.motion.layouts import save_motion_module
from ...core.motion.model import MotionModel
from ...core.motion.shared_norm import attach_motion
from ...core.motion.sites import find_sites
from ...core.prompts.blend import same_length
from ...core.training.clips import Clips
from ...core.training.curve import curve_image
from ...core.training.diffusion import Batch, train_motion
from ...core.training.fit import fitting_config
from ...core.training.loop import Plan
from ...core.training.losses import frame_weights
from ...core.training.tune import NOISE
from .files import MOTION_MODULES
from .hooks import check_self_attention
from .nets import as_patcher
from .schedules import AUTO
from .trainable import check_unet, prediction
from .training_runs import asked, drop_run, numbered_path, precision, run_folder

PREVIEW_SECONDS = 1.0
PREVIEW_SIZE = 640


@dataclass(frozen=True)
class TrainingSettings:
    """What the user asks of a training run.

    `frames` is the length of a clip, `clips_per_step` the clips a step sees; `beta_schedule` a core.schedules
    name or "auto" (the module's own); `terms` as in `core.training.losses.frame_weights`; `save_prefix` ""
    keeps no file.
    """

    frames: int
    steps: int
    learning_rate: float
    seed: int
    clips_per_step: int = 1
    beta_schedule: str = AUTO
    terms: dict = field(default_factory=dict)
    save_prefix: str = ""


class HostFamily:
    """A host model as core's recipes see one: `motion`, `device`, `freeze`, `predict`.

    The host makes its weights in inference mode, where autograd may not keep them for a backward pass. So
    `predict` calls the UNet with float32 copies of its weights put in for the length of the call; the UNet
    keeps its own.
    """

    def __init__(self, model: ModelPatcher, motion: MotionModel, contexts: dict[str, torch.Tensor]):
        """Copy the weights of a loaded model. `contexts`: caption -> (1, T, C), all of one T."""
        self.motion, self.device = motion, model.load_device
        self.unet, self.state = model.model.diffusion_model, MotionState()
        self.options = with_gradients(model.model_options.get("transformer_options", {}))
        named = (*self.unet.named_parameters(), *self.unet.named_buffers())
        self.weights = {name: own_copy(value, self.device) for name, value in named}
        self.contexts = {text: own_copy(value, self.device) for text, value in contexts.items()}

    def freeze(self) -> None:
        """The copies need no gradient as they are."""

    def context(self, texts) -> torch.Tensor:
        """Text states (B, T, C) of captions."""
        return torch.cat([self.contexts[text] for text in texts])

    def predict(self, noisy, steps, texts, frames, places=None, residuals=None):
        """Noise prediction for clips folded as (B F, 4, h, w); `steps` (B,) timesteps, one caption a clip.

        `places` (F,) are the frames' numbers in the clip, by default 0 to F-1; `residuals` is what video
        ControlNets add, see `core.control.network.Residuals`.
        """
        self.state.frames, self.state.places = frames, places
        told = {**self.options, "cond_or_uncond": [0]}
        told = told if residuals is None else with_residuals(told, residuals)
        options = {"context": self.context(texts).repeat_interleave(frames, 0), "transformer_options": told}
        call = (noisy, steps.repeat_interleave(frames, 0))
        return torch.func.functional_call(self.unet, self.weights, call, options)


def with_gradients(options: dict) -> dict:
    """transformer_options with which a UNet's attention has a backward pass, whatever the host samples by."""

    def attention(_chosen, *args, **kwargs):
        return attention_pytorch(*args, **kwargs)

    return {**options, "optimized_attention_override": attention}


def with_residuals(options: dict, residuals: Residuals) -> dict:
    """transformer_options with which a UNet adds a ControlNet's residuals, so that a backward pass works.

    What the host calls `control` it adds in place, to tensors that the backward pass still needs.
    """
    left = list(residuals.down)

    def add(h, skip, told):
        h = h + residuals.mid.to(h) if told["block"] == ("output", 0) else h
        return h, skip + left.pop().to(skip)

    patches = options.get("patches", {})
    own = {"output_block_patch": [add, *patches.get("output_block_patch", [])]}
    return {**options, "patches": {**patches, **own}}


def own_copy(value: torch.Tensor, device) -> torch.Tensor:
    """A copy that autograd may keep: float32 for weights of any float type, made outside inference mode."""
    dtype = torch.float32 if value.is_floating_point() else value.dtype
    return value.detach().to(device=device, dtype=dtype, copy=True)


def train_motion_module(model, clip, latent, captions: str, motion, settings: TrainingSettings):
    """Train a motion module on clips; `model`, `clip` and `motion` stay as they are.

    Arguments: model: ModelPatcher of an SD1.5 model that predicts noise. clip: its text encoder. latent:
    LATENT, (N F, 4, h, w), the frames of N clips one after the other. captions: one a line and clip, or one
    for all clips, or nothing. motion: MOTION_MODEL to go on from, or None for a fresh one made to fit the
    UNet.

    Returns: MOTION_MODEL, loss curve (1, H, W, 3) in 0..1.

    Raises: ValueError, before training, for inputs that do not belong together; the host's interrupt
    exception when the user cancels, after what was learnt has been kept for the next run of the same
    settings.
    """
    check_model(model, clip, motion)
    samples = latent["samples"]
    texts = read_captions(captions, clip_count(samples, settings.frames))
    frame_weights(settings.frames, **settings.terms)
    contexts = encode_captions(clip, texts)
    comfy.model_management.load_models_gpu([model, *([motion] if motion else [])], force_full_load=True)
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        module = start_module(model, motion, settings)
        clips = model.model.process_latent_in(samples.clone().float()).unflatten(0, (-1, settings.frames))
        family = HostFamily(model, module, contexts)
        plan = make_plan(family, clips, texts, settings)
        losses: list[float] = []
        weights = run(family, Clips(clips, texts), plan, settings, losses)
        module.load_state_dict(weights)
    return finish(module, plan, settings), curve(losses)


def run(family: HostFamily, data: Clips, plan: Plan, settings: TrainingSettings, losses: list[float]) -> dict:
    """The recipe with the modules attached; fills `losses`.

    Raises the host's interrupt after the checkpoint is kept.
    """
    attachments = attach_motion(family.motion, family.unet, family.state)
    batch = Batch(clips=settings.clips_per_step, frames=settings.frames)
    interrupted = comfy.model_management.processing_interrupted
    try:
        trained = train_motion(family, data, plan, batch, reporter(losses), interrupted, **settings.terms)
    finally:
        for attachment in attachments:
            attachment.remove()
    comfy.model_management.throw_exception_if_processing_interrupted()
    return trained["motion"]


def reporter(losses: list[float]):
    """Progress for the training loop: moves the bar, and now and then shows the loss curve.

    While an interrupt waits it does nothing: the host's bar would raise, and the loop is about to keep its
    checkpoint.
    """
    bar, shown = comfy.utils.ProgressBar(1), [0.0]

    def report(step: int, steps: int, so_far: list[float], _seconds: float) -> None:
        losses[:] = so_far
        if comfy.model_management.processing_interrupted():
            return
        picture, now = None, time.monotonic()
        if now - shown[0] > PREVIEW_SECONDS:
            picture, shown[0] = ("JPEG", Image.fromarray(curve_image(so_far)), PREVIEW_SIZE), now
        bar.update_absolute(step, steps, picture)

    return report


def check_model(model, clip, motion, targets=(NOISE,)) -> None:
    """Raise ValueError for a model, text encoder or motion module that training cannot use."""
    if clip is None:
        raise ValueError("There is no text encoder: this checkpoint holds none; use 'Load CLIP'.")
    check_unet(model.model)
    found = prediction(model)
    if found not in targets:
        raise ValueError(
            f"The model predicts {found or 'neither noise nor v'}; training needs one that predicts "
            f"{' or '.join(targets)}."
        )
    check_self_attention(model)
    if any(isinstance(other.model, MotionModel) for other in model.get_additional_models()):
        raise ValueError(
            "The model has a motion module on it; connect the model from before 'Apply Motion Module'."
        )
    if getattr(model.model.model_config, "scaled_fp8", None) is not None:
        raise ValueError(
            "The model's weights are scaled fp8, which cannot be trained on; load it as fp16 or bf16."
        )
    if motion is not None and motion.patches:
        raise ValueError(
            "The motion model has motion LoRAs on it; training goes on from a module without them."
        )


def clip_count(samples: torch.Tensor, frames: int) -> int:
    """How many clips a batch of latents or images holds; raises ValueError when it is no whole number."""
    if samples.ndim != 4 or len(samples) % frames:
        raise ValueError(
            f"The latent is {tuple(samples.shape)}; expected (clips x {frames} frames, 4, h, w)."
        )
    return len(samples) // frames


def read_captions(text: str, count: int) -> list[str]:
    """One caption a clip, from lines; one line serves all, none means no caption. Raises ValueError else."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    if len(lines) not in (1, count):
        raise ValueError(
            f"There are {len(lines)} captions for {count} clips; give one line a clip, or one for all."
        )
    return lines * (count // len(lines))


def encode_captions(clip, texts: list[str]) -> dict[str, torch.Tensor]:
    """Caption -> (1, T, C), the empty one included: training drops some captions."""
    wanted = list(dict.fromkeys([*texts, ""]))
    found = [clip.encode_from_tokens(clip.tokenize(text), return_dict=True)["cond"] for text in wanted]
    return dict(zip(wanted, same_length(found), strict=True))


def start_module(model: ModelPatcher, motion, settings: TrainingSettings) -> MotionModel:
    """A float32 module to train: a copy of the given one, or a fresh one that fits the UNet."""
    chosen = settings.beta_schedule
    torch.manual_seed(settings.seed)
    if motion is None:
        sites = find_sites(model.model.diffusion_model, mid_block=True)
        schedule = "linear" if chosen == AUTO else chosen
        config = fitting_config(sites, settings.frames, schedule, settings.save_prefix)
    else:
        config = motion.model.config
        config = config if chosen == AUTO else replace(config, beta_schedule=chosen)
    if settings.frames > config.max_frames:
        raise ValueError(
            f"The clips have {settings.frames} frames, this motion module takes at most {config.max_frames}."
        )
    module = MotionModel(config)
    if motion is not None:
        module.load_state_dict(
            {name: own_copy(value, "cpu") for name, value in motion.model.state_dict().items()}
        )
    return module.to(model.load_device)


def make_plan(family: HostFamily, clips, texts, settings: TrainingSettings) -> Plan:
    """The plan, with a folder that only the same settings, models and clips find again."""
    told = (texts, family.motion.config.sites())
    weights = (part.values() for part in (family.weights, family.contexts, family.motion.state_dict()))
    folder = run_folder("", settings, told, clips, *weights)
    warmup, kind = min(50, max(1, settings.steps // 10)), precision(family.device)
    return Plan(settings.steps, folder, settings.learning_rate, warmup, settings.seed, precision=kind)


def finish(module: MotionModel, plan: Plan, settings: TrainingSettings) -> ModelPatcher:
    """Save the module where asked, drop the run's checkpoint, and give the module to the host."""
    if settings.save_prefix:
        path = numbered_path(MOTION_MODULES, settings.save_prefix)
        save_motion_module(module, path, {"training": asked(settings)})
    drop_run(plan.folder)
    where = comfy.model_management.unet_offload_device()
    ours = MotionModel(module.config, comfy.ops.manual_cast, where, comfy.model_management.unet_dtype())
    ours.load_state_dict(module.state_dict())
    return as_patcher(ours)


def curve(losses: list[float]) -> torch.Tensor:
    """The loss curve as an IMAGE (1, H, W, 3)."""
    return torch.from_numpy(curve_image(losses)).float()[None] / 255
