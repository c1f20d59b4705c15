"""Recipe: a video ControlNet on the frozen UNet and motion module.

What it is trained on comes from a source that draws clips together with their condition: keyframes of encoded
clips here; anything with the same `draw` (a flow source that draws clips and the flow of their tracks, say)
trains the other kinds of net.
"""

import json
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..control.layouts import published_weights
from ..control.network import ControlConfig, VideoControlNet
from ..files import CONFIG
from .clips import Clips
from .diffusion import Batch, attention, drop_texts
from .loop import Trainer
from .losses import Diffusion, ccdm_loss

MOST_KEYFRAMES = 4
CONDITIONS = {"image": 5, "flow": 2}  # channels: 4 latent and 1 mask; dx, dy


class Drawn(NamedTuple):
    """What one step sees."""

    latents: Tensor  # B F 4 h w, clean
    texts: list[str]
    condition: Tensor  # B F C H W, what VideoControlNet.forward takes
    keyframes: list[list[int]]  # frames of each clip that Eq. 13 weighs by lambda2; may be empty


class KeyframeClips:
    """Encoded clips, each with a random set of one to `most` frames given as condition."""

    def __init__(self, clips: Clips, most: int = MOST_KEYFRAMES):
        """Draw from `clips`."""
        self.clips, self.most = clips, most

    def draw(self, count: int, frames: int, generator) -> Drawn:
        """`count` clips of `frames`; their condition is latent and mask 1 at keyframes, 0 elsewhere."""
        latents, texts = self.clips.draw_clips(count, frames, generator)
        keyframes = [self._places(frames, generator) for _ in range(count)]
        mask = torch.zeros(count, frames, 1, *latents.shape[3:])
        for row, places in zip(mask, keyframes, strict=True):
            row[places] = 1
        return Drawn(latents, texts, torch.cat((latents * mask, mask), 2), keyframes)

    def _places(self, frames: int, generator) -> list[int]:
        number = int(torch.randint(1, min(self.most, frames) + 1, (1,), generator=generator))
        return sorted(torch.randperm(frames, generator=generator)[:number].tolist())


def make_control(family, kind: str = "image") -> VideoControlNet:
    """A net for the family's UNet whose spatial layers start as copies of the UNet's encoder.

    The rest is fresh: motion modules and output convolutions begin at zero, so it changes nothing yet.
    """
    shape = family.unet.config
    config = ControlConfig(
        channels=tuple(shape.block_out_channels),
        attends=tuple("CrossAttn" in name for name in shape.down_block_types),
        layers_per_block=shape.layers_per_block,
        context=shape.cross_attention_dim,
        heads=shape.attention_head_dim,  # the number of heads, see `make_unet`
        motion_heads=family.motion.config.heads,
        max_frames=family.motion.config.max_frames,
        norm_groups=shape.norm_num_groups,
        kind=kind,
        condition=CONDITIONS[kind],
    )
    control = VideoControlNet(config)
    control.load_state_dict({**control.state_dict(), **_encoder(family.unet, control)})
    return control.to(family.device)


def _encoder(unet, control) -> dict[str, Tensor]:
    """The UNet's weights that the net has too; all of its spatial layers are among them."""
    names = control.state_dict().keys()
    return {name: weight for name, weight in unet.state_dict().items() if name in names}


def predict(family, control, noisy: Tensor, steps: Tensor, texts: list[str], condition: Tensor) -> Tensor:
    """Noise prediction (B F 4 h w) of the UNet with motion and the net's residuals; steps (B,)."""
    frames = noisy.shape[1]
    family.state.active, family.state.frames = True, frames
    context = family.text(family.words(texts).to(family.device)).last_hidden_state
    context, steps = context.repeat_interleave(frames, 0), steps.repeat_interleave(frames, 0)
    with attention(family.device):
        residuals = control(condition, steps, context)
        found = family.unet(
            noisy.flatten(0, 1),
            steps,
            context,
            down_block_additional_residuals=residuals.down,
            mid_block_additional_residual=residuals.mid,
            return_dict=False,
        )[0]
    return found.unflatten(0, noisy.shape[:2])


def keyframe_loss(predicted: Tensor, noise: Tensor, keyframes: list[list[int]], **terms) -> Tensor:
    """CCDM Eq. 13 where each clip has keyframes of its own: (B F C H W) twice -> scalar."""
    clips = zip(predicted.split(1), noise.split(1), keyframes, strict=True)
    return torch.stack([ccdm_loss(p, n, keyframes=places, **terms) for p, n, places in clips]).mean()


def train_control(family, control, source, plan, batch=Batch(), progress=None, stop=None, **terms):  # noqa: B008
    """The net alone; `family` is frozen. Returns the averaged state dict as {"control": ...}.

    `source` has `draw(count, frames, generator) -> Drawn`; `terms` (lambda1, lambda2, window) as in
    `frame_weights`.
    """
    family.freeze()
    family.motion.requires_grad_(False)
    diffusion = Diffusion((family.motion.config.beta_schedule,), family.device)

    def loss(step, generator):
        drawn = source.draw(batch.clips, batch.frames, generator)
        noisy, noise, steps = diffusion.noised(drawn.latents.to(family.device), generator)
        texts = drop_texts(drawn.texts, batch.drop, generator)
        predicted = predict(family, control, noisy, steps, texts, drawn.condition.to(family.device))
        return keyframe_loss(predicted, noise, drawn.keyframes, **terms)

    return Trainer({"control": control}, loss, plan, progress, stop).resume().run().averaged()


def save_control(control: VideoControlNet, path) -> None:
    """Write a net under SparseCtrl's and Image Conductor's names, as `read_video_controlnet` reads it.

    The metadata hold what shapes do not show, under the names of diffusers' config.json.
    """
    config = {
        "num_attention_heads": control.config.heads,
        "motion_num_attention_heads": control.config.motion_heads,
        "norm_num_groups": control.config.norm_groups,
    }
    weights = {
        name: weight.detach().cpu().contiguous() for name, weight in published_weights(control).items()
    }
    save_file(weights, str(path), metadata={"format": "pt", CONFIG: json.dumps(config)})
