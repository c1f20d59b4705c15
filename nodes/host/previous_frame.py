"""Sample a clip frame by frame, each steered by the source or by the frame made before it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import comfy.sample
import comfy.samplers
from PIL import Image
from torch import Tensor

from ...core.control_modes.loop import (
    CONTENT,
    INTERPOLATED,
    MOVED,
    PREVIOUS,
    FrameLoop,
    Loop,
    Request,
    Source,
)
from ...core.control_modes.maps import Edges, edge_maps
from .clip_control import ControlOptions
from .hooks import SCHEDULE_FRAMES
from .noise import prior_noise
from .progress import reporter
from .refine import prompt_of_frames
from .sampling import SamplerSettings, empty_latent
from .uni_control import applied, apply_uni_control, encode_content

EDGES, DEPTH = "canny", "midas"
CHANNELS = 4  # of Stable Diffusion 1.5's latents


@dataclass(frozen=True)
class Guide:
    """What steers the frames: a stock ControlNet that takes edges, or a Uni-ControlNet, and how strongly.

    Raises ValueError unless there is exactly one.
    """

    control_net: object = None
    uni: object = None
    clip_vision: object = None
    strength: float = 1.0

    def __post_init__(self):
        """Check that there is one net."""
        if (self.control_net is None) == (self.uni is None):
            raise ValueError("Connect a control_net for edges, or a uni_controlnet: one of the two")

    def takes_content(self, vae) -> bool:
        """Whether a picture's content can steer."""
        if self.uni is None or not self.uni.model.config.content:
            return False
        return (vae if self.uni.model.config.content_of == "latent" else self.clip_vision) is not None


class FrameSampler:
    """Makes one frame from a request, as the stock KSampler does."""

    def __init__(self, model, vae, prompts: tuple[list, list], guide: Guide, settings: SamplerSettings):
        """Take the parts; `prompts` are positive and negative."""
        self.model, self.vae, self.prompts, self.guide = model, vae, prompts, guide
        self.settings, self.size, self.frames = settings, (0, 0), 1
        self.content = guide.takes_content(vae)

    def __call__(self, request: Request) -> Tensor:
        """A frame (H, W, 3) in 0..1."""
        settings = replace(self.settings, seed=request.seed)
        ratio = self.vae.spacial_compression_decode()
        latent = empty_latent(1, CHANNELS, self.size[0] // ratio, self.size[1] // ratio)
        latent = comfy.sample.fix_empty_latent_channels(self.model, latent)
        made = comfy.sample.sample(
            self.model,
            prior_noise(request.seed, 0.0).generate_noise({"samples": latent}),
            settings.steps,
            settings.cfg,
            settings.sampler,
            settings.scheduler,
            *self._steered(request),
            latent,
            denoise=settings.denoise,
            disable_pbar=True,
            seed=request.seed,
        )
        return self.vae.decode(made)[0, ..., :3].float().cpu()

    def _steered(self, request: Request) -> tuple[list, list]:
        """This frame's part of the prompts, with its maps and content on copies of both."""
        maps, guide = {kind: picture[None] for kind, picture in request.maps.items()}, self.guide
        own = range(request.frame, request.frame + 1)
        prompts = tuple(prompt_of_frames(prompt, own, self.frames) for prompt in self.prompts)
        if guide.uni is None:
            return self._with_stock(prompts, maps[EDGES]) if maps else prompts
        content = None
        if request.content is not None and self.content:
            content = encode_content(guide.uni, request.content[None], guide.clip_vision, self.vae)
        return apply_uni_control(prompts, guide.uni, maps, ControlOptions(guide.strength), content)

    def _with_stock(self, prompts: tuple[list, list], hint: Tensor) -> tuple[list, list]:
        made = self.guide.control_net.copy().set_cond_hint(
            hint.movedim(-1, 1), self.guide.strength, (0.0, 1.0), vae=self.vae
        )
        return tuple(
            [[text, {**part, "control": made, "control_apply_to_uncond": False}] for text, part in prompt]
            for prompt in prompts
        )


def sample_frames(
    sampler: FrameSampler,
    images: Tensor,
    depth: Tensor | None,
    loop: Loop,
    edges: Edges,
    first: Tensor | None,
) -> tuple[Tensor, Tensor, str]:
    """A clip made frame by frame, the edge maps of its source, and what was applied.

    images: the source clip (F, H, W, 3); depth: its depth maps, for a Uni-ControlNet; first: (1, H, W, 3),
    frame 0 as it is. Progress, a preview and the interrupt come with every frame. Raises ValueError for sizes
    that do not fit.
    """
    check(sampler, images, depth, first)
    images = images[..., :3]
    maps = {EDGES: edge_maps(images, edges)}
    if depth is not None:
        maps[DEPTH] = depth[..., :3]
    sampler.size, sampler.frames = tuple(images.shape[1:3]), len(images)
    source = Source(len(images), maps, images)
    estimators = {EDGES: lambda frame: edge_maps(frame[None], edges)[0]}
    bar = FrameLoop(loop, source, sampler, estimators)
    report = reporter()

    def show(done: int, total: int, frame: Tensor) -> None:
        report(done, total, Image.fromarray((frame.clamp(0, 1) * 255).round().byte().numpy()))

    start = None if first is None else first[0, ..., :3]
    made = bar.run(sampler.settings.seed, start, show)
    return made, maps[EDGES], told(sampler, loop, maps, first)


def check(sampler: FrameSampler, images: Tensor, depth: Tensor | None, first: Tensor | None) -> None:
    """Raise ValueError, before any work, for pictures or prompts that do not fit the source clip."""
    height, width = images.shape[1:3]
    ratio = sampler.vae.spacial_compression_decode()
    if height % ratio or width % ratio:
        raise ValueError(f"The source clip is {width}x{height}, expected multiples of {ratio}")
    if depth is not None and sampler.guide.uni is None:
        raise ValueError("depth is for a uni_controlnet; a stock ControlNet takes the edges alone")
    if first is not None and len(first) != 1:
        raise ValueError(f"first_frame has {len(first)} images, expected 1; use 'ImageFromBatch'")
    for name, pictures in (("depth", depth), ("first_frame", first)):
        if pictures is not None and pictures.shape[1:3] != images.shape[1:3]:
            raise ValueError(
                f"{name} is {pictures.shape[2]}x{pictures.shape[1]}, the source clip {width}x{height}; use "
                "'Upscale Image' first"
            )
    for options in (options for prompt in sampler.prompts for _, options in prompt):
        if "control" in options:
            raise ValueError("The prompt carries a ControlNet; connect it as control_net")
        made_for = options.get(SCHEDULE_FRAMES, len(images))
        if made_for != len(images):
            raise ValueError(
                f"The prompt schedule has {made_for} frames, the source clip {len(images)}: set the same "
                "number in both"
            )


def told(sampler: FrameSampler, loop: Loop, maps: dict, first: Tensor | None) -> str:
    """What steered the frames, in words: an input that has no effect is said to have none."""
    content, guide = "content" in loop.mode, sampler.guide
    lines = [f"mode: {loop.mode}; seeds: {loop.seeds}"]
    acting = maps if guide.strength and not (loop.mode == CONTENT and first is not None) else {}
    if guide.uni is None:
        lines.append(f"applied: {'edges' if acting else 'nothing'}; a stock ControlNet takes no content")
    else:
        lines.append(applied(guide.uni, acting, content and sampler.content))
    if not guide.strength:
        lines.append("maps are not applied: strength is 0")
    elif loop.mode == CONTENT:
        there = "frame 0 alone" if acting else "no frame"
        lines.append(f"maps steer {there}: in this mode the later ones follow the frame before")
    elif DEPTH in maps and loop.mode in (PREVIOUS, INTERPOLATED, MOVED):
        lines.append("depth is not estimated from the frames made: that of the source is carried on")
    if content and not sampler.content:
        lines.append("content is not applied: it needs a uni_controlnet that takes it, and an encoder")
    if first is not None:
        lines.append("frame 0 is first_frame as it is")
    return "\n".join(lines)
