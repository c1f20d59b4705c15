"""Train the camera and the object LoRA of a trajectory ControlNet on a host model (Image Conductor)."""

from __future__ import annotations

from dataclasses import dataclass, field

import comfy.model_management
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher

from ...core.control.copies import copy_control
from ...core.control.lora import ROLES, add_lora
from ...core.motion.model import MotionModel
from ...core.motion.shared_norm import attach_motion
from ...core.training.control import save_control
from ...core.training.diffusion import Batch
from ...core.training.flow_clips import TrackedLatents
from ...core.training.flow_control import CLIPS, FlowTraining, Orthogonal
from ...core.training.loop import Plan
from .clip_control import check_fit
from .control import VideoControl
from .files import CONTROLNETS
from .footage import NO_DATASET, Footage, all_captions, check_lengths, dataset_folder, encode_footage
from .nets import as_patcher
from .training import HostFamily, check_model, curve, encode_captions, own_copy, reporter
from .training_runs import check_prefix, drop_run, numbered_path, precision, run_folder


@dataclass(frozen=True)
class Models:
    """What trains, and what it trains on; all stay as they are.

    model: SD1.5 without a motion module. motion: MOTION_MODEL. control: the flow net. image: a net that is
    shown each clip's first frame, or None.
    """

    model: ModelPatcher
    clip: object
    vae: object
    motion: ModelPatcher
    control: ModelPatcher
    image: ModelPatcher | None = None

    @property
    def patchers(self) -> list[ModelPatcher]:
        """Those that the host loads."""
        return [p for p in (self.model, self.motion, self.control, self.image) if p is not None]


@dataclass(frozen=True)
class LoraSettings:
    """What the user asks for: `steps` are those of each LoRA; `save_prefix` "" keeps no file."""

    frames: int
    rank: int
    steps: int
    learning_rate: float
    seed: int
    clips_per_step: int = 1
    orthogonal: Orthogonal = field(default_factory=Orthogonal)
    save_prefix: str = ""


def train_motion_loras(
    models: Models, footage: list[Footage], settings: LoraSettings, dataset: str = NO_DATASET
):
    """Train the LoRAs that there are clips for, camera before object.

    A LoRA that the net has is trained further, others begin fresh. dataset: a folder of ComfyUI's input
    folder, as `dev.py curate` writes it.

    Returns: VIDEO_CONTROLNET, loss curves (1 or 2, H, W, 3) in 0..1. Raises: ValueError, before training, for
    inputs that do not belong together; the host's interrupt exception when the user cancels, after what was
    learnt has been kept for the next run of the same settings.
    """
    check_models(models, settings)
    check_prefix(settings)
    folder = dataset_folder(dataset)
    check_lengths(folder, settings.frames)
    contexts = encode_captions(models.clip, all_captions(footage, folder))
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        data = encode_footage(models.model, models.vae, footage, folder)
        roles = [role for role in ROLES if set(CLIPS[role]) & set(data.kinds)]
        comfy.model_management.load_models_gpu(models.patchers, force_full_load=True)
        training = make_training(models, data, contexts, roles, settings)
        losses = run(training, roles, settings.orthogonal)
        return finish(models, training, settings), torch.cat([curve(of_role) for of_role in losses])


def check_models(models: Models, settings: LoraSettings) -> None:
    """Raise ValueError for models that do not belong together."""
    check_model(models.model, models.clip, None)
    for what, patcher, kind in (
        ("control_net", models.control, "flow"),
        ("image_net", models.image, "image"),
    ):
        if patcher is not None and patcher.model.config.kind != kind:
            raise ValueError(f"{what} takes {patcher.model.config.kind} as condition, expected {kind}")
        if patcher is not None:
            check_fit(patcher.model, models.model.model, VideoControl.what)
    most = min(p.model.config.max_frames for p in (models.motion, models.control))
    if settings.frames > most:
        raise ValueError(f"The clips have {settings.frames} frames, these models take at most {most}")


def make_training(
    models: Models, data: TrackedLatents, contexts: dict, roles: list[str], settings: LoraSettings
) -> FlowTraining:
    """Float32 copies of all that takes part, with fresh LoRAs where the net has none of a role."""
    torch.manual_seed(settings.seed)
    device = models.model.load_device
    motion = MotionModel(models.motion.model.config)
    motion.load_state_dict({k: own_copy(v, "cpu") for k, v in models.motion.model.state_dict().items()})
    family = HostFamily(models.model, motion.to(device), contexts)
    control = copy_control(models.control.model, device=device, dtype=torch.float32)
    image = models.image and copy_control(models.image.model, device=device, dtype=torch.float32)
    for role in roles:
        if control.lora is None or role not in control.lora.roles:
            add_lora(control, role, settings.rank, device=device)
    batch = Batch(clips=settings.clips_per_step, frames=settings.frames)
    stop = comfy.model_management.processing_interrupted
    plan = make_plan(family, [control, *([image] if image else [])], data, settings)
    return FlowTraining(family, control, data, plan, batch, image, stop=stop)


def make_plan(family: HostFamily, nets: list, data: TrackedLatents, settings: LoraSettings) -> Plan:
    """The plan, with a folder that only the same settings, models and clips find again."""
    told = (data.captions, data.kinds, data.size)
    parts = (family.weights, family.contexts, *(net.state_dict() for net in (family.motion, *nets)))
    weights = (part.values() for part in parts)
    folder = run_folder("lora_", settings, told, *weights, (data.clips, data.tracks))
    warmup, kind = min(50, max(1, settings.steps // 10)), precision(family.device)
    return Plan(settings.steps, folder, settings.learning_rate, warmup, settings.seed, precision=kind)


def run(training: FlowTraining, roles: list[str], orthogonal: Orthogonal) -> list[list[float]]:
    """Train the LoRAs of some roles; the losses of each.

    Raises the host's interrupt after the checkpoint is kept.
    """
    family, losses = training.family, []
    attachments = attach_motion(family.motion, family.unet, family.state)
    try:
        for role in roles:
            losses.append([])
            training.progress = reporter(losses[-1])
            training.train_lora(role, orthogonal)
            comfy.model_management.throw_exception_if_processing_interrupted()
    finally:
        for attachment in attachments:
            attachment.remove()
    return losses


def finish(models: Models, training: FlowTraining, settings: LoraSettings) -> ModelPatcher:
    """The trained net for the host, in the precision of the given one; saved where asked, the run dropped."""
    where, dtype = comfy.model_management.unet_offload_device(), next(models.control.model.parameters()).dtype
    net = copy_control(training.control, comfy.ops.manual_cast, where, dtype)
    if settings.save_prefix:
        save_control(net, numbered_path(CONTROLNETS, settings.save_prefix))
    for folder in (*(training.plan.folder / role for role in ROLES), training.plan.folder):
        drop_run(folder)
    return as_patcher(net)
