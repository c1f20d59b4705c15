"""Recipe: CCDM Table 3. The same motion training under three noise configurations, measured alike.

A and B use Stable Diffusion's schedule, with noise of each frame's own or one noise for all frames; C the
linear schedule. Each gets a fresh motion module on the same frozen base and the same number of steps.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..metrics.motion import flow_rating
from ..optical_flow import farneback_flow
from ..schedules import alphas_cumprod
from .clips import Clips
from .diffusion import Batch, drop_texts
from .loop import Trainer
from .losses import Diffusion, ccdm_loss

LEVELS = (0.98, 0.8, 0.5, 0.2, 0.05)  # shares of signal variance at which all configurations are compared
HELD_OUT = 0.1  # of the clips
SAMPLES = 4  # clips measured and sampled
SAMPLING_STEPS = 20
GUIDANCE = 5.0


@dataclass(frozen=True)
class Configuration:
    """A beta schedule of core.schedules, and whether all frames of a clip get one noise."""

    schedule: str
    shared: bool

    def noise(self, shape, generator) -> Tensor:
        """Noise (B, F, C, h, w)."""
        frames = 1 if self.shared else shape[1]
        drawn = torch.randn(shape[0], frames, *shape[2:], generator=generator)
        return drawn.expand(shape).contiguous()


CONFIGURATIONS = {
    "A": Configuration("scaled_linear", False),
    "B": Configuration("scaled_linear", True),
    "C": Configuration("linear", False),
}


@dataclass(frozen=True)
class Result:
    """What one configuration gave.

    trained: mean loss of the last tenth of the steps. held_out: squared error of the predicted noise on clips
    not trained on, mean over `LEVELS`. movement: change from frame to frame of sampled latents, over that of
    the held-out clips (1 = as they move). spread: deviation of sampled latents over theirs (above 1 = too
    much contrast). flow: mean optical flow of sampled frames in pixels, and `flow_truth` of the held-out
    ones; None without a decoder.
    """

    trained: float
    held_out: float
    movement: float
    spread: float
    flow: float | None = None
    flow_truth: float | None = None


def split(data: Clips) -> tuple[Clips, Clips]:
    """Clips to train on, and the last tenth (one at least) to measure on; ValueError for fewer than two."""
    if len(data.clips) < 2:
        raise ValueError(f"The ablation needs at least 2 encoded clips, got {len(data.clips)}.")
    at = len(data.clips) - max(1, round(HELD_OUT * len(data.clips)))
    clips, texts = data.clips, data.clip_captions
    return Clips(clips[:at], texts[:at]), Clips(clips[at:], texts[at:])


def train_configuration(
    family,
    data: Clips,
    configuration: Configuration,
    plan,
    batch=Batch(),  # noqa: B008
    progress=None,
    **terms,
):
    """Train the family's motion module under one configuration, in place; returns the losses by step."""
    family.freeze()
    diffusion = Diffusion((configuration.schedule,), family.device)

    def loss(step, generator):
        latents, texts = data.draw_clips(batch.clips, batch.frames, generator)
        latents = latents.to(family.device)
        drawn = configuration.noise(latents.shape, generator).to(family.device)
        noisy, noise, steps = diffusion.noised(latents, generator, drawn)
        texts = drop_texts(texts, batch.drop, generator)
        predicted = family.predict(noisy.flatten(0, 1), steps, texts, batch.frames)
        return ccdm_loss(predicted.unflatten(0, noisy.shape[:2]), noise, **terms)

    trainer = Trainer({"motion": family.motion}, loss, plan, progress).resume().run()
    family.motion.load_state_dict(trainer.averaged()["motion"])
    return trainer.losses


@torch.inference_mode()
def held_out_loss(family, data: Clips, configuration: Configuration, frames: int, seed: int = 0) -> float:
    """Squared error of the predicted noise, mean over clips and over `LEVELS` of the schedule."""
    generator = torch.Generator().manual_seed(seed)
    latents, texts = data.draw_clips(SAMPLES, frames, generator)
    latents = latents.to(family.device)
    kept = alphas_cumprod(configuration.schedule).float()
    errors = []
    for level in LEVELS:
        noise = configuration.noise(latents.shape, generator).to(latents)
        step = int((kept - level).abs().argmin())
        noisy = kept[step].sqrt() * latents + (1 - kept[step]).sqrt() * noise
        steps = torch.full((len(latents),), step, device=latents.device)
        predicted = family.predict(noisy.flatten(0, 1), steps, texts, frames)
        errors.append((predicted.unflatten(0, noise.shape[:2]) - noise).square().mean())
    return float(torch.stack(errors).mean())


@torch.inference_mode()
def sample_clips(
    family, configuration: Configuration, noise: Tensor, texts: list[str], steps=None, guidance=GUIDANCE
) -> Tensor:
    """Clips (B, F, 4, h, w) by DDIM (Song et al. 2021, eta 0) from noise of that shape, with guidance.

    steps: of sampling, SAMPLING_STEPS if None.
    """
    kept = alphas_cumprod(configuration.schedule).float()
    times = torch.linspace(len(kept) - 1, 0, (steps or SAMPLING_STEPS) + 1).round().long()[:-1].tolist()
    x, frames, empty = noise.to(family.device), noise.shape[1], [""] * len(texts)
    for now, following in zip(times, [*times[1:], None], strict=True):
        rows = torch.full((2 * len(x),), now, device=x.device)
        both = family.predict(torch.cat((x, x)).flatten(0, 1), rows, [*texts, *empty], frames)
        given, free = both.unflatten(0, (2, len(x), frames))
        predicted = free + guidance * (given - free)
        clean = (x - (1 - kept[now]).sqrt() * predicted) / kept[now].sqrt()
        left = kept.new_ones(()) if following is None else kept[following]
        x = left.sqrt() * clean + (1 - left).sqrt() * predicted
    return x


def _flow(decoder, clips: Tensor) -> float:
    """Mean optical flow in pixels of decoded clips (B, F, 4, h, w)."""
    ratings = []
    for clip in clips:
        with torch.inference_mode():
            frames = decoder(clip).clamp(0, 1).permute(0, 2, 3, 1).float().cpu()
        ratings.append(flow_rating(farneback_flow(frames)).mean_px)
    return sum(ratings) / len(ratings)


def measure(
    family, data: Clips, configuration: Configuration, frames, losses, decoder=None, seed=0
) -> Result:
    """Measure a trained configuration on held-out clips and on clips sampled from their captions."""
    generator = torch.Generator().manual_seed(seed)
    truth, texts = data.draw_clips(SAMPLES, frames, generator)
    made = sample_clips(family, configuration, configuration.noise(truth.shape, generator), texts).cpu()
    last = losses[-max(1, len(losses) // 10) :]
    return Result(
        trained=sum(last) / len(last),
        held_out=held_out_loss(family, data, configuration, frames, seed),
        movement=float(made.diff(dim=1).abs().mean() / truth.diff(dim=1).abs().mean()),
        spread=float(made.std() / truth.std()),
        flow=None if decoder is None else _flow(decoder, made.to(family.device)),
        flow_truth=None if decoder is None else _flow(decoder, truth.to(family.device)),
    )


def run_ablation(make_family, data: Clips, make_plan, batch=Batch(), decoder=None, progress=None, **terms):  # noqa: B008
    """Train and measure all configurations; returns name -> Result.

    `make_family()` gives a family with a fresh motion module, the same each time; `make_plan(name)` a plan.
    `terms` as in `frame_weights`.
    """
    train, kept = split(data)
    results = {}
    for name, configuration in CONFIGURATIONS.items():
        family, plan = make_family(), make_plan(name)
        losses = train_configuration(family, train, configuration, plan, batch, progress, **terms)
        results[name] = measure(family, kept, configuration, batch.frames, losses, decoder, plan.seed)
    return results


def table(results: dict[str, Result]) -> str:
    """The results as a Markdown table."""
    columns = [name for name in asdict(next(iter(results.values())))]
    lines = [f"| | schedule | noise | {' | '.join(columns)} |", "|---" * (len(columns) + 3) + "|"]
    for name, result in results.items():
        configuration = CONFIGURATIONS[name]
        cells = ["-" if value is None else f"{value:.4f}" for value in asdict(result).values()]
        kind = "one for all frames" if configuration.shared else "each frame its own"
        lines.append(f"| {name} | {configuration.schedule} | {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
