"""Recipe: a video ControlNet on the frozen UNet and motion module.

What it is trained on comes from a source that draws clips together with their condition: keyframes of encoded
clips here, flow maps of their tracks in `flow_source`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..control.layouts import published_weights
from ..control.lora import BASE, LoraMix
from ..control.lora_files import wrapped_weights
from ..control.network import ControlConfig, Residuals, VideoControlNet
from ..files import CONFIG, write_weights
from .clips import Clips
from .diffusion import Batch, attention, clip_noise, draw_places, drop_texts
from .loop import Trainer
from .losses import Diffusion, ccdm_loss, stress_motion

MOST_KEYFRAMES = 4
CONDITIONS = {"image": 5, "flow": 2}  # channels: 4 latent and 1 mask; dx, dy


class Drawn(NamedTuple):
    """What one step sees."""

    latents: Tensor  # B F 4 h w, clean
    texts: list[str]
    condition: Tensor  # B F C H W, what VideoControlNet.forward takes
    keyframes: list[list[int]]  # frames of each clip that Eq. 13 weighs by lambda2; may be empty
    places: Tensor | None = None  # (F,) the frames' numbers in their clip, None = 0 to F-1
    image: Tensor | None = None  # B F 5 h w, the condition of an image net that acts besides


class Source(Protocol):
    """Anything that draws what a step sees; of a batch it reads clips, frames, span and places."""

    def draw(self, batch: Batch, generator: torch.Generator) -> Drawn:
        """The clips of one step."""


class KeyframeClips:
    """Encoded clips, each with a random set of one to `most` frames given as condition."""

    def __init__(self, clips: Clips, most: int = MOST_KEYFRAMES):
        """Draw from `clips`."""
        self.clips, self.most = clips, most

    def draw(self, batch: Batch, generator) -> Drawn:
        """Clips of a batch; their condition is latent and mask 1 at keyframes, 0 elsewhere."""
        latents, texts = self.clips.draw_clips(batch.clips, batch.span or batch.frames, generator)
        places = draw_places(batch, generator)
        if places is not None:
            latents = latents[:, places]
        keyframes = [self._places(batch.frames, generator) for _ in range(batch.clips)]
        return Drawn(latents, texts, shown(latents, keyframes), keyframes, places)

    def _places(self, frames: int, generator) -> list[int]:
        number = int(torch.randint(1, min(self.most, frames) + 1, (1,), generator=generator))
        return sorted(torch.randperm(frames, generator=generator)[:number].tolist())


def shown(latents: Tensor, keyframes: Sequence[Sequence[int]]) -> Tensor:
    """What an image net takes, (B, F, 5, h, w): latents and mask 1 at each clip's keyframes, 0 elsewhere."""
    mask = torch.zeros_like(latents[:, :, :1])
    for row, places in zip(mask, keyframes, strict=True):
        row[list(places)] = 1
    return torch.cat((latents * mask, mask), 2)


def make_control(family, kind: str = "image") -> VideoControlNet:
    """A net for the family's UNet whose spatial layers start as copies of the UNet's encoder.

    The rest is fresh: motion modules and output convolutions begin at zero, so it changes nothing yet.
    """
    config = ControlConfig(
        **encoder_shape(family.unet),
        motion_heads=family.motion.config.heads,
        max_frames=family.motion.config.max_frames,
        kind=kind,
        condition=CONDITIONS[kind],
    )
    control = VideoControlNet(config)
    control.load_state_dict({**control.state_dict(), **_encoder(family.unet, control)})
    return control.to(family.device)


def encoder_shape(unet) -> dict:
    """What a diffusers UNet says of its encoder, under the names that our nets' configurations have."""
    shape = unet.config
    return {
        "channels": tuple(shape.block_out_channels),
        "attends": tuple("CrossAttn" in name for name in shape.down_block_types),
        "layers_per_block": shape.layers_per_block,
        "context": shape.cross_attention_dim,
        "heads": shape.attention_head_dim,  # the number of heads, see `make_unet`
        "norm_groups": shape.norm_num_groups,
    }


def _encoder(unet, control) -> dict[str, Tensor]:
    """The UNet's weights that the net has too; all of its spatial layers are among them."""
    names = control.state_dict().keys()
    return {name: weight for name, weight in unet.state_dict().items() if name in names}


@dataclass(frozen=True)
class Acting:
    """The nets of a step: the one that learns, with the LoRAs that act in it; a frozen image net, or none."""

    control: VideoControlNet
    mix: LoraMix = BASE
    image: VideoControlNet | None = None

    def conditions(self, drawn: Drawn) -> list[tuple[VideoControlNet, LoraMix, Tensor]]:
        """The nets that act, with what each is given."""
        found = [(self.control, self.mix, drawn.condition)]
        if self.image is not None and drawn.image is not None:
            found.append((self.image, BASE, drawn.image))
        return found


def predict(family, acting: Acting, noisy: Tensor, steps: Tensor, texts: list[str], drawn: Drawn) -> Tensor:
    """Noise prediction (B F 4 h w) of the UNet with motion and the nets' residuals; steps (B,).

    `family` is a `Family`, or anything with its `motion`, `device`, `freeze`, `context` and `predict`.
    """
    frames = noisy.shape[1]
    context = family.context(texts).repeat_interleave(frames, 0)
    each = steps.repeat_interleave(frames, 0)
    with attention(family.device):
        found = [
            net(condition.to(noisy.device), each, context, mix=mix, places=drawn.places)
            for net, mix, condition in acting.conditions(drawn)
        ]
    made = family.predict(noisy.flatten(0, 1), steps, texts, frames, drawn.places, summed(found))
    return made.unflatten(0, noisy.shape[:2])


def summed(found: Iterable[Residuals]) -> Residuals:
    """The residuals of several nets together."""
    downs, mids = zip(*found, strict=True)
    return Residuals(tuple(sum(parts) for parts in zip(*downs, strict=True)), sum(mids))


def keyframe_loss(predicted: Tensor, noise: Tensor, keyframes: list[list[int]], **terms) -> Tensor:
    """CCDM Eq. 13 where each clip has keyframes of its own: (B F C H W) twice -> scalar."""
    clips = zip(predicted.split(1), noise.split(1), keyframes, strict=True)
    return torch.stack([ccdm_loss(p, n, keyframes=places, **terms) for p, n, places in clips]).mean()


def control_loss(family, acting: Acting, source: Source, batch: Batch, **terms):
    """`loss(step, generator)` for a `Trainer`; freezes the family. `terms` as in `train_control`."""
    family.freeze()
    family.motion.requires_grad_(False)
    diffusion = Diffusion((family.motion.config.beta_schedule,), family.device, batch.blind)

    def loss(step, generator):
        drawn = source.draw(batch, generator)
        latents = drawn.latents.to(family.device)
        common = clip_noise(latents.shape, batch.gamma, drawn.places, generator)
        noisy, noise, steps = diffusion.noised(latents, generator, common)
        texts = drop_texts(drawn.texts, batch.drop, generator)
        pair = predict(family, acting, noisy, steps, texts, drawn).float(), noise
        return keyframe_loss(*(stress_motion(x, batch.debias) for x in pair), drawn.keyframes, **terms)

    return loss


def train_control(family, control, source, plan, batch=Batch(), progress=None, stop=None, **terms):  # noqa: B008
    """The net alone; `family` is frozen. Returns the averaged state dict as {"control": ...}.

    `terms` (lambda1, lambda2, window) as in `frame_weights`.
    """
    loss = control_loss(family, Acting(control), source, batch, **terms)
    return Trainer({"control": control}, loss, plan, progress, stop).resume().run().averaged()


def save_control(control: VideoControlNet, path) -> None:
    """Write a net under SparseCtrl's and Image Conductor's names, as `read_video_controlnet` reads it.

    Its LoRAs go into the same file. The metadata hold what shapes do not show, under the names of diffusers'
    config.json.
    """
    config = {
        "num_attention_heads": control.config.heads,
        "motion_num_attention_heads": control.config.motion_heads,
        "norm_num_groups": control.config.norm_groups,
    }
    weights = published_weights(control)
    weights = weights if control.lora is None else wrapped_weights(control, weights)
    write_weights(weights, path, {"format": "pt", CONFIG: json.dumps(config)})
