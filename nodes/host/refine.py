"""Second passes over a clip: face by face in crops of their own, or as a whole in tiles that agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch.nn.functional as F
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...core.motion.model import MotionModel
from ...core.noise import SEED_RANGE
from ...core.refine.paste import paste, whole_masks
from ...core.refine.regions import CropPlan, Region, cut, match_colours, plan_region
from ...core.refine.tracks import FaceTracks
from .feedback import Feedback
from .hooks import SCHEDULE_FRAMES, as_part, check_conditioning
from .keyframes import GuidanceRun
from .noise import prior_noise
from .patching import check_clip
from .progress import check_interrupt, reporter
from .sampling import SamplerSettings, sample_with_noise
from .tiles import CELL, TileOptions, apply_tiles, check_divisible, check_guidance
from .windows import frame_rows

WHOLE_FRAME = {
    "control": "a ControlNet",
    "mask": "a mask",
    "area": "an area",
    "gligen": "GLIGEN",
    "concat_latent_image": "a picture to inpaint or edit",
}


@dataclass(frozen=True)
class Pass:
    """A second pass: the host's sampler, gamma of the noise prior, and the two prompts."""

    settings: SamplerSettings
    gamma: float
    positive: list
    negative: list

    def run(self, model, vae, images: Tensor, frames: range | None = None) -> Tensor:
        """Images (n, H, W, 3), sides multiples of 8, encoded, sampled as one clip and decoded.

        frames: their numbers in the whole clip, whose noise they get.
        """
        check_interrupt()
        latent = {"samples": vae.encode(images)}
        if frames is not None:
            latent["batch_index"] = list(frames)
        noise = prior_noise(self.settings.seed, self.gamma)
        made = sample_with_noise(model, noise, self.settings, self.positive, self.negative, latent)
        return vae.decode(made["samples"]).float().clamp_(0, 1).to(images.device)

    def check(self, model, frames: int) -> None:
        """Raise ValueError, before any work, for clips of `frames` frames that the model cannot sample."""
        for motion in _motion_modules(model):
            check_clip(frames, model.model_options.get("context_handler"), motion.config.max_frames)
        check_conditioning(frames, self.conds)

    @property
    def conds(self) -> dict[str, list[dict]]:
        """The options of both prompts, by name."""
        both = {"positive": self.positive, "negative": self.negative}
        return {name: [options for _, options in prompt] for name, prompt in both.items()}


def _motion_modules(model) -> list[MotionModel]:
    return [m.model for m in model.get_additional_models() if isinstance(m.model, MotionModel)]


@dataclass(frozen=True)
class FaceOptions:
    """How faces are cut out and put back.

    feather: pixels of the frame; colour: 0..1 of the crop's own colours that come back; skip_large: leave
    faces as they are whose crop has the guide size already.
    """

    plan: CropPlan
    feather: float = 16.0
    colour: float = 1.0
    skip_large: bool = True


def refine_faces(
    model, vae, images: Tensor, tracks: FaceTracks, second: Pass, options: FaceOptions, masks=None
):
    """Every track sampled in a crop of its own and pasted back: images (F, H, W, 3), and a report.

    masks: (F, H, W), one for all frames, or None: what may change at all. Frames without a chosen face are
    kept bit for bit. Raises ValueError, before any work, for images or masks of another clip, and for a model
    or prompts that belong to the whole frame or do not fit a track's frames.
    """
    check_colours(images)
    tracks.check(images)
    check_whole_frame(model)
    masks = whole_masks(masks, images)
    planned, lines = _planned(model, tracks, second, options)
    parts = []
    for region, frames, own in planned:
        crops = cut(images, region, reporter())
        part = as_part(model, frames[0], tracks.count)
        shown = crops.expand(len(frames), -1, -1, -1)
        made = own.run(part, vae, shown, frames)[: len(crops)]
        parts.append((region, match_colours(made, crops, region, options.colour)))
    report = "\n".join(lines) or "no face: the clip is unchanged"
    return (paste(images, parts, options.feather, masks, reporter()) if parts else images), report


def _planned(model, tracks: FaceTracks, second: Pass, options: FaceOptions) -> tuple[list, list[str]]:
    """(region, frames, pass) of each track that is sampled, and a line for each track. Raises ValueError."""
    check_prompt(second.negative)
    planned, lines = [], []
    for number, track in enumerate(tracks.tracks):
        positive = track.prompt or second.positive
        check_prompt(positive)
        region = plan_region(track, tracks.size, tracks.count, options.plan)
        large = options.skip_large and options.plan.guide > 0 and region.scale <= 1
        lines.append(_line(number, region, large))
        if large or second.settings.denoise == 0:
            continue
        own = replace(
            second,
            settings=replace(second.settings, seed=(second.settings.seed + number) % SEED_RANGE),
            positive=prompt_of_frames(positive, region.frames, tracks.count),
            negative=prompt_of_frames(second.negative, region.frames, tracks.count),
        )
        frames, own = _frames(model, region, own)
        own.check(model, len(frames))
        planned.append((region, frames, own))
    return planned, lines


def _line(number: int, region: Region, large: bool) -> str:
    width, height = (round(n) for n in region.extent)
    where = f"face {number}: frames {region.frames[0]}-{region.frames[-1]}, crop {width}x{height}"
    if large:
        return f"{where}: skipped, it is large enough"
    return f"{where} at {region.work[0]}x{region.work[1]} ({region.scale:.2f} times)"


def _frames(model, region: Region, own: Pass) -> tuple[range, Pass]:
    """The frames to sample; a single one is shown twice to a motion module, which needs two."""
    frames = region.frames
    if len(frames) > 1 or not _motion_modules(model):
        return frames, own
    own = replace(own, positive=_for_any_frame(own.positive), negative=_for_any_frame(own.negative))
    return range(frames[0], frames[0] + 2), own


def _for_any_frame(prompt: list) -> list:
    """The prompt of one frame without the note that it is a schedule's."""
    return [
        [cond, {key: value for key, value in options.items() if (key, value) != (SCHEDULE_FRAMES, 1)}]
        for cond, options in prompt
    ]


def check_colours(images: Tensor) -> None:
    """Raise ValueError unless images are (F, H, W, 3)."""
    if images.shape[-1] != 3:
        raise ValueError(
            f"The images have {images.shape[-1]} channels, expected 3; use 'Split Image with Alpha'"
        )


def check_whole_frame(model) -> None:
    """Raise ValueError for a model that pulls what it makes to keyframes of the whole frame."""
    for wrapper in model.get_all_wrappers(WrappersMP.SAMPLER_SAMPLE):
        owner, name = getattr(wrapper, "__self__", None), None
        if isinstance(owner, GuidanceRun):
            name = "'Keyframe Guidance'"
        elif isinstance(owner, Feedback) and owner.fuse.keyframes is not None:
            name = "'Fusion Feedback' with keyframes"
        if name:
            raise ValueError(
                f"The model carries {name}, whose keyframes are whole frames and no faces; "
                "use the model from before that node"
            )


def check_prompt(prompt: list) -> None:
    """Raise ValueError for conditioning that speaks of places in the whole frame."""
    for _, options in prompt:
        found = next((WHOLE_FRAME[key] for key in WHOLE_FRAME if key in options), None)
        if found:
            raise ValueError(
                f"The prompt of a face carries {found} for the whole frame; connect conditioning without it"
            )


def prompt_of_frames(prompt: list, frames: range, count: int) -> list:
    """Conditioning of a clip of `count` frames, for some of its frames; one prompt for all stays as it is."""
    rows = list(frames)

    def part(value):
        per_frame = isinstance(value, Tensor) and value.ndim and value.shape[0] == count > 1
        return frame_rows(value, rows, count) if per_frame else value

    cut_prompt = []
    for cond, options in prompt:
        own = {key: part(value) for key, value in options.items()}
        if own.get(SCHEDULE_FRAMES) == count:
            own[SCHEDULE_FRAMES] = len(rows)
        cut_prompt.append([part(cond), own])
    return cut_prompt


@dataclass(frozen=True)
class Hold:
    """A stock ControlNet that holds what is made to the frames, and how strongly."""

    control: object
    strength: float = 1.0


def refine_tiles(
    model, vae, images: Tensor, second: Pass, options: TileOptions, hold: Hold | None = None
) -> Tensor:
    """The clip (F, H, W, 3) sampled as one large latent in tiles that agree at every step; the same size.

    With denoise 0 the images come back as they are. Sides that are no multiples of 8 are filled up with
    their last pixels, for the hint of `hold` too, and cut again.
    """
    check_colours(images)
    if second.settings.denoise == 0:
        return images
    height, width = images.shape[1:3]
    padded, pad = images, (-width % CELL, -height % CELL)
    if any(pad):
        padded = F.pad(images.movedim(-1, 1), (0, pad[0], 0, pad[1]), mode="replicate").movedim(1, -1)
    if hold is not None and hold.strength:
        prompts = second.positive, second.negative
        positive, negative = with_control(*prompts, hold.control, padded, hold.strength, vae)
        second = replace(second, positive=positive, negative=negative)
    made = second.run(apply_tiles(model, options), vae, padded)
    return made[:, :height, :width]


def check_tiles(model, frames: int, second: Pass, hold: Hold | None = None) -> None:
    """Raise ValueError for what `refine_tiles` could not do with a clip of `frames` frames."""
    if second.settings.denoise == 0:
        return
    second.check(model, frames)
    check_guidance(model.model_options)
    held = [{"control": hold.control}] if hold is not None and hold.strength else []
    check_divisible({**second.conds, "hold": held})


def with_control(positive: list, negative: list, control, images: Tensor, strength: float, vae) -> tuple:
    """Both prompts with a stock ControlNet whose hint are the frames, as a tile ControlNet has it."""
    hint, made, results = images.movedim(-1, 1), {}, []
    for prompt in (positive, negative):
        changed = []
        for cond, options in prompt:
            before = options.get("control")
            if before not in made:
                own = control.copy().set_cond_hint(hint, strength, (0.0, 1.0), vae)
                own.set_previous_controlnet(before)
                made[before] = own
            changed.append([cond, {**options, "control": made[before], "control_apply_to_uncond": False}])
        results.append(changed)
    return tuple(results)
