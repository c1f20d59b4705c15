"""Recipes: a still-image model with its text encoder (on clips too, if asked), and a motion module on it."""

import contextlib
from dataclasses import dataclass, replace

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..motion.attach import MotionState, attach
from ..motion.model import MotionConfig, MotionModel
from ..motion.sites import find_sites
from ..noise import gaussian_prior
from .base_model import HEADS, LAYERS, WIDTHS, CaptionProbe, make_text_encoder, make_unet
from .clips import Clips
from .latents import Latents
from .loop import Trainer
from .losses import Diffusion, ccdm_loss, stress_motion

PROBED = 16  # captions a step whose words the text encoder must keep apart
PROBE_WEIGHT = 0.002  # of that loss, some nats at first, against a denoising error near 0.01


@dataclass(frozen=True)
class Batch:
    """What a step sees.

    `stills` pictures; `clips` clips of `frames`; `clip_share` of the steps are clips; `drop` of the captions
    are emptied, for classifier-free guidance. With `span` the frames are thinned: drawn anew each step from
    runs of `span` frames and told their places. Five frames of sixteen cost a third of a step and say as
    much about where things go, so a step can see three times the clips; with `places` they are drawn from
    those frames of the run only. `blind` as in `losses.Diffusion`, `debias` as in `losses.stress_motion`,
    `gamma` as in `clip_noise` (video ControlNets only).
    """

    stills: int = 24
    clips: int = 2
    frames: int = 16
    clip_share: float = 0.0
    drop: float = 0.1
    span: int = 0
    places: tuple = ()
    blind: float = 0.0
    debias: float = 0.0
    gamma: float = 0.0


class Family:
    """UNet, text encoder and motion model together, as the recipes train them."""

    def __init__(self, words, widths=WIDTHS, device="cpu", seed=0):
        torch.manual_seed(seed)
        self.words, self.device = words, device
        self.unet, self.text = make_unet(widths).to(device), make_text_encoder().to(device)
        config = MotionConfig(
            channels=tuple(widths),
            layers_per_block=LAYERS,
            mid_block=True,
            heads=HEADS,
            name="choreographer_demo",
        )
        self.motion = MotionModel(config).to(device)
        self.state = MotionState()
        self.attachment = attach(self.motion, find_sites(self.unet, mid_block=True), self.state)

    def predict(self, noisy, steps, texts, frames=0, places=None, residuals=(None, None)):
        """Noise prediction for stills (B, 4, h, w), or with `frames` for clips folded as (B F, 4, h, w).

        `places` (F,) are the frames' numbers in the clip, by default 0 to F-1; `residuals` is what video
        ControlNets add to the UNet's skips and middle, see `core.control.network.Residuals`.
        """
        self.state.active, self.state.frames, self.state.places = frames > 0, frames, places
        context = self.context(texts)
        if frames:
            context, steps = context.repeat_interleave(frames, 0), steps.repeat_interleave(frames, 0)
        down, mid = residuals
        added = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        with attention(self.device):
            return self.unet(noisy, steps, context, return_dict=False, **added)[0]

    def context(self, texts):
        """What the text encoder makes of B texts, (B, 77, C)."""
        return self.text(self.words(texts).to(self.device)).last_hidden_state

    def freeze(self):
        """Leave only the motion model to train."""
        self.unet.requires_grad_(False)
        self.text.requires_grad_(False)

    def load(self, weights):
        """Take state dicts by name ("unet", "text", "motion"), leaving absent ones as they are."""
        for name, tensors in weights.items():
            getattr(self, name).load_state_dict(tensors)
        return self


def attention(device):
    """On CPUs the plain attention.

    The fused one's backward pass took a third longer a step (measured, 16x16 latents).
    """
    return sdpa_kernel(SDPBackend.MATH) if torch.device(device).type == "cpu" else contextlib.nullcontext()


def _is_clip_step(step, share):
    """Whether a step sees clips.

    Spread evenly by the golden ratio, and the same in every process of a parallel run.
    """
    return (step * 0.6180339887498949) % 1 < share


def draw_places(batch, generator):
    """Which frames of a run of `batch.span` a step sees: (`batch.frames`,) rising, or None for whole runs."""
    if not batch.span:
        return None
    places = torch.tensor(batch.places or range(batch.span))
    return places[torch.randperm(len(places), generator=generator)[: batch.frames]].sort().values


def clip_noise(shape, gamma, places, generator):
    """Noise of clips (B, F, C, h, w) by VCD's 3-D Gaussian prior (Eq. 4), or None where gamma is 0.

    `places` (F,) are the frames' numbers in the clip, None = 0 to F-1: frames further apart have less in
    common.
    """
    if not gamma:
        return None
    places = torch.arange(shape[1]) if places is None else places
    frames = int(places[-1]) + 1
    clips = (gaussian_prior(frames, shape[2:], gamma, generator) for _ in range(shape[0]))
    return torch.stack([clip[places] for clip in clips])


def drop_texts(texts, share, generator):
    """The texts, a `share` of them emptied at random: what classifier-free guidance needs."""
    drop = torch.rand(len(texts), generator=generator) < share
    return ["" if d else text for text, d in zip(texts, drop.tolist(), strict=True)]


def train_base(family, data: Latents, plan, batch=Batch(), progress=None, stop=None):  # noqa: B008
    """Text encoder and UNet on stills.

    Where `batch.clip_share` > 0 also on clips with the motion model in place.

    Seeing clips is what teaches the cross attention that "left" and "pans" mean something: no still shows it.
    The text encoder also learns to keep all words apart, by a `CaptionProbe` on texts of the same step.
    Returns averaged state dicts "unet", "text", "probe" (and "motion").
    """
    still = Diffusion(("scaled_linear", "linear"), family.device, batch.blind)
    moving = Diffusion(("linear",), family.device, batch.blind)
    captions = data.captions
    probe = CaptionProbe(captions).to(family.device)
    modules = {"unet": family.unet, "text": family.text, "probe": probe}
    if batch.clip_share > 0:
        modules["motion"] = family.motion

    def loss(step, generator):
        texts = [captions[i] for i in torch.randint(len(captions), (PROBED,), generator=generator).tolist()]
        return denoising(step, generator) + PROBE_WEIGHT * probe(family.context(texts), texts)

    def denoising(step, generator):
        if _is_clip_step(step, batch.clip_share):
            return _clip_loss(family, data, moving, batch, generator, {})
        latents, texts = data.draw_stills(batch.stills, generator)
        noisy, noise, steps = still.noised(latents.to(family.device), generator)
        predicted = family.predict(noisy, steps, drop_texts(texts, batch.drop, generator))
        return (predicted.float() - noise).square().mean()

    return Trainer(modules, loss, plan, progress, stop).resume().run().averaged()


def train_motion(family, data: Clips, plan, batch=Batch(), progress=None, stop=None, **terms):  # noqa: B008
    """The motion module alone on the frozen model, with the CCDM objective (Eq.

    13; `terms` as in `frame_weights`).

    `family` is a `Family`, or anything with its `motion`, `device`, `freeze` and `predict`. Returns the
    averaged state dict as {"motion": ...}.
    """
    family.freeze()
    moving = Diffusion((family.motion.config.beta_schedule,), family.device, batch.blind)
    batch = replace(batch, clip_share=1.0)

    def loss(step, generator):
        return _clip_loss(family, data, moving, batch, generator, terms)

    return Trainer({"motion": family.motion}, loss, plan, progress, stop).resume().run().averaged()


def _clip_loss(family, data, diffusion, batch, generator, terms):
    latents, texts = data.draw_clips(batch.clips, batch.span or batch.frames, generator)
    places = draw_places(batch, generator)
    if places is not None:
        latents = latents[:, places]
    latents = latents.to(family.device)
    texts = drop_texts(texts, batch.drop, generator)
    expected = _expected(data, texts, places, latents) if batch.blind else None
    noisy, noise, steps = diffusion.noised(latents, generator, expected=expected)
    predicted = family.predict(noisy.flatten(0, 1), steps, texts, noisy.shape[1], places)
    pair = predicted.float().unflatten(0, noisy.shape[:2]), noise
    return ccdm_loss(*(stress_motion(x, batch.debias) for x in pair), **terms)


def _expected(data, texts, places, latents):
    expected = data.expected(texts, places).to(latents)
    if expected.shape != latents.shape:
        raise ValueError(
            f"Blind items lead to the mean of whole clips, which have {expected.shape[1]} frames, not "
            f"{latents.shape[1]}: give --span {expected.shape[1]}."
        )
    return expected
