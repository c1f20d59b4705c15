"""Train image prompts on a host model: core's recipes, through the host's text encoder and UNet."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import comfy.model_management
import folder_paths
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.data.subject_boxes import read_dataset
from ...core.data.subject_records import read_records, sprite_records
from ...core.image_prompt.attach import PromptState, attach
from ...core.image_prompt.layouts import save_image_prompt
from ...core.image_prompt.network import ImagePrompt, MapperConfig
from ...core.image_prompt.vision import standardized
from ...core.motion.attach import MotionState
from ...core.motion.shared_norm import attach_motion
from ...core.prompts.blend import same_length
from ...core.training.image_prompt import PromptBatch, make_prompt, take_over, train_image_prompt
from ...core.training.loop import Plan
from ...core.training.picture_encoder import MAPPER as SMALL
from ...core.training.picture_encoder import train_picture_encoder
from ...core.training.subjects import SubjectClips, encode_records
from .files import IMAGE_PROMPTS
from .identity_training import EncoderCall, differentiable
from .image_prompt import check_vision, clip_states, load_image_prompt_file, vision_size, with_picture
from .progress import reporter as bar
from .training import check_model, curve, own_copy, reporter, with_gradients
from .training_runs import check_prefix, drop_run, numbered_path, precision, run_folder

HOST_SCHEDULE = "scaled_linear"  # that the host samples Stable Diffusion 1.5 with


@dataclass(frozen=True)
class PromptTraining:
    """What the user asks of a run.

    dataset: path of a subject data set, "" = `clips` clips of the sprite world. size: width and height of the
    clips. stage: of `core.training.image_prompt.STAGES`. save_prefix: "" keeps no file.
    """

    stage: str
    steps: int
    learning_rate: float
    seed: int
    frames: int = 16
    size: tuple[int, int] = (128, 128)
    clips: int = 64
    clips_per_step: int = 1
    positions: bool = False
    dataset: str = ""
    save_prefix: str = ""


class HostPromptFamily:
    """A host model as core's recipe sees one; weights are float32 copies, put in for the length of a call."""

    def __init__(self, model: ModelPatcher, clip, clip_vision, prompt: ImagePrompt, motion=None):
        """Copy the weights of a loaded model and its text encoder. `motion`: a MOTION_MODEL, or None."""
        self.prompt, self.clip, self.clip_vision = prompt, clip, clip_vision
        self.device, self.unet = model.load_device, model.model.diffusion_model
        self.state, self.motion_state = PromptState(active=False), MotionState(active=False)
        self.encoder = EncoderCall(clip)
        self.weights, self.text_weights = (_copies(part, self.device) for part in (self.unet, self.encoder))
        self.motion, self.handles = motion, []
        self.schedule = motion.model.config.beta_schedule if motion else HOST_SCHEDULE
        if motion is not None:  # first, for it may not fit: it is the one that is not made for this UNet
            self.handles += attach_motion(motion.model, self.unet, self.motion_state)
        self.handles += attach(prompt, self.unet, self.state)

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self.handles:
            handle.remove()

    def tokens(self, pictures: Tensor) -> Tensor:
        """Tokens (B, 5, C) of pictures (B, 3, S, S); the picture encoder does not learn."""
        pixels = standardized(pictures)
        with torch.no_grad():
            if self.prompt.vision is not None:
                states = self.prompt.vision(pixels)
            else:
                states = [own_copy(state, self.device) for state in clip_states(self.clip_vision, pixels)]
        return self.prompt.tokens(states)

    def context(self, texts: list[str], words: list[str], tokens: list[Tensor | None]) -> Tensor:
        """Text states B x T x C, with tokens in place of a text's word."""
        key = self.clip.cond_stage_model.clip_name
        found = []
        for text, word, rows in zip(texts, words, tokens, strict=True):
            given = self.clip.tokenize(text)
            if rows is not None:
                given = {key: with_picture(self.clip, text, word, rows).parts}
            found.append(torch.func.functional_call(self.encoder, self.text_weights, (given,)))
        return torch.cat(same_length(found)).to(self.device)

    def denoise(self, noisy: Tensor, steps: Tensor, context: Tensor, frames: int) -> Tensor:
        """Noise of rows (B F, 4, h, w); `frames` 0 are pictures, which motion modules leave alone."""
        motion, repeat = self.motion_state, max(frames, 1)
        motion.active, motion.frames = self.motion is not None and frames > 0, frames
        options = {
            "context": context.repeat_interleave(repeat, 0),
            "transformer_options": with_gradients({"cond_or_uncond": [0]}),
        }
        rows = (noisy, steps.repeat_interleave(repeat, 0))
        return torch.func.functional_call(self.unet, self.weights, rows, options)


def _copies(module: torch.nn.Module, device) -> dict[str, Tensor]:
    named = (*module.named_parameters(), *module.named_buffers())
    return {name: own_copy(value, device) for name, value in named}


def train_prompt(model, clip, vae, prompt, clip_vision, motion, settings: PromptTraining):
    """One stage of training; everything that is connected stays as it is.

    Arguments: prompt: IMAGE_PROMPT_MODEL to go on from, or None with a CLIP_VISION for a fresh one. motion:
    MOTION_MODEL that takes part, or None. Without prompt, clip_vision and data set a small picture encoder is
    made and trained first.

    Returns: IMAGE_PROMPT_MODEL, loss curve (1, H, W, 3) in 0..1. Raises: ValueError, before training, for
    what does not belong together; the host's interrupt exception when the user cancels, after what was learnt
    has been kept for the next run of the same settings.
    """
    check_model(model, clip, None)
    check_prefix(settings)
    mapper = choose_mapper(prompt, clip_vision, clip, settings)
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        check_motion(model, motion, settings.frames)
        torch.manual_seed(settings.seed)
        start = _start(model, prompt, mapper, settings)
        data = encode_subjects(vae, model, settings, mapper, clip_vision)
        loaded = [
            model,
            clip.patcher,
            *(m.patcher for m in (clip_vision,) if m),
            *(m for m in (motion,) if m),
        ]
        comfy.model_management.load_models_gpu(loaded, force_full_load=True)
        if prompt is None and mapper.vision is not None:
            teach_pictures(start, data, settings)
        family = HostPromptFamily(model, clip, clip_vision, start, _unfrozen(motion))
        losses: list[float] = []
        try:
            plan = make_plan(family, data, settings)
            with differentiable(family.encoder):
                weights = train_image_prompt(
                    family, data, plan, settings.stage,
                    PromptBatch(settings.clips_per_step, settings.frames),
                    reporter(losses), comfy.model_management.processing_interrupted, family.schedule,
                )  # fmt: skip
        finally:
            family.remove()
        comfy.model_management.throw_exception_if_processing_interrupted()
        start.load_state_dict(weights)
    return finish(start, plan, settings), curve(losses)


def choose_mapper(prompt, clip_vision, clip, settings: PromptTraining) -> MapperConfig:
    """Sizes of the mapper: the given model's, for the given picture encoder, or for a small one of its own.

    Raises ValueError.
    """
    if prompt is not None:
        sizes = prompt.model.config.mapper
        if sizes is None:
            raise ValueError("The image prompt model has no mapper that could be trained on")
        if sizes.vision is None:
            check_vision(clip_vision, sizes)
        return sizes
    name = clip.cond_stage_model.clip
    table = getattr(clip.cond_stage_model, name).transformer.get_input_embeddings().weight
    if clip_vision is None and settings.dataset:
        raise ValueError(
            "Real clips need a picture encoder: connect 'Load CLIP Vision', or an image prompt model that "
            "has one"
        )
    if clip_vision is None:
        return replace(SMALL, target=table.shape[1])
    width = vision_size(clip_vision)[1]
    sizes = MapperConfig(source=width, hidden=width, target=table.shape[1])
    check_vision(clip_vision, sizes)
    return sizes


def encode_subjects(vae, model, settings: PromptTraining, mapper: MapperConfig, clip_vision) -> SubjectClips:
    """The clips and pictures as latents."""
    size, frames, path = settings.size, settings.frames, settings.dataset.strip()
    if path:
        records, count = read_records(Path(path), frames, size, settings.seed), len(list(read_dataset(path)))
    else:
        records, count = sprite_records(settings.clips, frames, settings.seed, size), settings.clips
    report = bar()
    side = mapper.vision.image if mapper.vision else clip_vision.image_size

    def encode(images: np.ndarray) -> Tensor:
        with torch.no_grad():
            encoded = own_copy(vae.encode(torch.from_numpy(images)), "cpu")
        return model.model.process_latent_in(encoded)

    return encode_records(records, encode, min(size), side, lambda done: report(done, count))


def _start(model, prompt, mapper: MapperConfig, settings: PromptTraining) -> ImagePrompt:
    """The float32 model to train: fresh copies of the UNet's weights, or what an earlier stage has learnt."""
    name = settings.save_prefix or "image prompt"
    unet = model.model.diffusion_model
    fresh = make_prompt(unet, mapper, settings.stage, settings.positions, name)
    if prompt is not None:
        earlier = ImagePrompt(prompt.model.config)
        earlier.load_state_dict({k: own_copy(t, "cpu") for k, t in prompt.model.state_dict().items()})
        take_over(fresh, earlier)
    return fresh.to(model.load_device)


def teach_pictures(model: ImagePrompt, data: SubjectClips, settings: PromptTraining) -> None:
    """Train the small picture encoder of a fresh model on the sprites, in place, for as many steps."""
    folder = Path(folder_paths.get_temp_directory()) / f"picture_encoder_{settings.seed}_{settings.steps}"
    shutil.rmtree(folder, ignore_errors=True)
    device = next(model.parameters()).device
    plan = Plan(settings.steps, folder, settings.learning_rate, seed=settings.seed)
    interrupted = comfy.model_management.processing_interrupted
    tower = train_picture_encoder(data, plan, device=device, progress=reporter([]), stop=interrupted)
    comfy.model_management.throw_exception_if_processing_interrupted()
    model.vision.load_state_dict(tower)
    shutil.rmtree(folder, ignore_errors=True)


def check_motion(model: ModelPatcher, motion: ModelPatcher | None, frames: int) -> None:
    """Raise ValueError for a MOTION_MODEL that takes fewer frames, or is made for another UNet."""
    if motion is None:
        return
    config = motion.model.config
    if frames > config.max_frames:
        raise ValueError(
            f"The clips have {frames} frames, this motion module takes at most {config.max_frames}"
        )
    for attachment in attach_motion(motion.model, model.model.diffusion_model, MotionState(active=False)):
        attachment.remove()


def _unfrozen(motion):
    """A MOTION_MODEL whose weights autograd may pass through: a float32 copy made outside inference mode."""
    if motion is None:
        return None
    module = type(motion.model)(motion.model.config)
    module.load_state_dict({k: own_copy(t, "cpu") for k, t in motion.model.state_dict().items()})
    copied = motion.clone()
    copied.model = module.to(motion.load_device).requires_grad_(False)
    return copied


def make_plan(family: HostPromptFamily, data: SubjectClips, settings: PromptTraining) -> Plan:
    """The plan, with a folder that only the same settings, models and clips find again."""
    others = [other.model.state_dict() for other in (family.motion, family.clip_vision) if other]
    parts = (family.weights, family.text_weights, family.prompt.state_dict(), *others)
    groups = (*(part.values() for part in parts), (data.clips, data.looks))
    told = (data.texts, data.words, family.schedule, family.encoder.layer)
    folder = run_folder("prompt_", settings, told, *groups)
    kind = precision(family.device)
    return Plan(settings.steps, folder, settings.learning_rate, seed=settings.seed, precision=kind)


def finish(trained: ImagePrompt, plan: Plan, settings: PromptTraining) -> ModelPatcher:
    """Save the model where asked, drop the run's checkpoint, and give the model to the host."""
    path = plan.folder / "image_prompt.safetensors"
    if settings.save_prefix:
        path = numbered_path(IMAGE_PROMPTS, settings.save_prefix)
    save_image_prompt(trained.cpu(), path, {"training": {**asdict(settings), "size": list(settings.size)}})
    loaded = load_image_prompt_file(str(path))
    if not settings.save_prefix:
        path.unlink()
    drop_run(plan.folder)
    return loaded
