"""The video ControlNet: SD1.5's encoder with a motion module after every layer, giving 12 + 1 residuals.

One network serves SparseCtrl (images or scribbles on some frames) and Image Conductor's image and flow nets;
they differ in how the condition is embedded.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..clip import VideoShape
from ..motion.transformer import TemporalTransformer
from .blocks import Downsampler, ResBlock, SpatialTransformer, TimeEmbedding, time_features
from .lora import BASE, LoraMix, SwitchableLora, check_mix

LATENT_STRIDE = 8  # pixels a latent cell, each way
KINDS = ("image", "pixels", "flow")


@dataclass(frozen=True)
class ControlConfig:
    """What shapes a video ControlNet.

    `channels` is the width of each level from the outside in, `attends` whether it has spatial transformers,
    `context` the width of the text states. `kind` says what the condition is: "image" (latents and a mask,
    at latent size), "pixels" (images and a mask, embedded by a stack of convolutions `embedding` wide) or
    "flow" (dx, dy); `condition` is its number of channels. `clip_norm` is that of `TemporalTransformer`.
    """

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attends: tuple[bool, ...] = (True, True, True, False)
    layers_per_block: int = 2
    context: int = 768
    latent: int = 4
    heads: int = 8
    motion_heads: int = 8
    max_frames: int = 32
    norm_groups: int = 32
    kind: str = "image"
    condition: int = 5
    embedding: tuple[int, ...] = (16, 32, 96, 256)
    clip_norm: bool = False


class Residuals(NamedTuple):
    """What is added to the UNet: to each skip, outermost first, and to its middle; all (B F) C H W."""

    down: tuple[Tensor, ...]
    mid: Tensor


class PixelEmbedding(nn.Module):
    """SparseCtrl's embedding of images: 3x3 convolutions with SiLU, three with stride 2, the last zero."""

    def __init__(
        self, condition: int, widths: tuple[int, ...], channels: int, ops=nn, device=None, dtype=None
    ):
        """Make the stack from `ops`: `condition` channels in, `channels` out, `widths` in between."""
        super().__init__()
        where = {"device": device, "dtype": dtype}
        self.conv_in = ops.Conv2d(condition, widths[0], 3, padding=1, **where)
        self.blocks = nn.ModuleList(
            ops.Conv2d(before, after, 3, padding=1, stride=stride, **where)
            for outer, inner in zip(widths, widths[1:], strict=False)
            for before, after, stride in ((outer, outer, 1), (outer, inner, 2))
        )
        self.conv_out = _zeroed(ops.Conv2d(widths[-1], channels, 3, padding=1, **where))

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C H W in pixels to N x channels x H/8 x W/8."""
        x = functional.silu(self.conv_in(x))
        for block in self.blocks:
            x = functional.silu(block(x))
        return self.conv_out(x)


class DownBlock(nn.Module):
    """One level: layers of ResBlock, spatial transformer (where the level attends) and motion module."""

    def __init__(self, config: ControlConfig, level: int, ops=nn, device=None, dtype=None):
        """Make the layers of `level` from `ops`; all levels but the last end with a downsampler."""
        super().__init__()
        where = {"ops": ops, "device": device, "dtype": dtype}
        width, groups = config.channels[level], config.norm_groups
        before = config.channels[max(level - 1, 0)]
        count, time = config.layers_per_block, 4 * config.channels[0]
        self.resnets = nn.ModuleList(
            ResBlock(width if j else before, width, time, groups, **where) for j in range(count)
        )
        self.attentions = nn.ModuleList(
            SpatialTransformer(width, config.context, config.heads, groups, **where)
            for _ in range(count if config.attends[level] else 0)
        )
        self.motion_modules = nn.ModuleList(
            TemporalTransformer(
                width, 1, config.motion_heads, config.max_frames, groups, clip_norm=config.clip_norm, **where
            )
            for _ in range(count)
        )
        last = level == len(config.channels) - 1
        self.downsamplers = nn.ModuleList([] if last else [Downsampler(width, **where)])

    def forward(
        self, x: Tensor, time: Tensor, context: Tensor, frames: int, places: Tensor | None = None
    ) -> list[Tensor]:
        """Outputs of each layer and of the downsampler for `x` (B F) C H W; the last one goes on."""
        outputs = []
        for index, (resnet, motion) in enumerate(zip(self.resnets, self.motion_modules, strict=True)):
            x = resnet(x, time)
            if self.attentions:
                x = self.attentions[index](x, context)
            x = motion(x, frames, places=places)
            outputs.append(x)
        return outputs + [downsample(x) for downsample in self.downsamplers]


class MidBlock(nn.Module):
    """ResBlock, spatial transformer, ResBlock; no motion module."""

    def __init__(self, config: ControlConfig, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`."""
        super().__init__()
        where = {"ops": ops, "device": device, "dtype": dtype}
        width, groups = config.channels[-1], config.norm_groups
        self.resnets = nn.ModuleList(
            ResBlock(width, width, 4 * config.channels[0], groups, **where) for _ in range(2)
        )
        self.attentions = nn.ModuleList(
            [SpatialTransformer(width, config.context, config.heads, groups, **where)]
        )

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """Map `x` (B F) C H W to the same shape."""
        x = self.attentions[0](self.resnets[0](x, time), context)
        return self.resnets[1](x, time)


class VideoControlNet(nn.Module):
    """Condition of a clip -> residuals for the UNet's skips and middle (SparseCtrl; Image Conductor).

    The network sees no noisy latents: they are replaced by zeros, which leaves only the bias of `conv_in`.
    A fresh network gives zeros: its output convolutions and the embedding of the condition start at zero.
    `lora` is None, or the low-rank branches that a call may mix in.
    """

    def __init__(self, config: ControlConfig, ops=nn, device=None, dtype=None):
        """Make all layers from `ops`; raises ValueError for a kind that does not exist."""
        super().__init__()
        if config.kind not in KINDS:
            raise ValueError(f"A video ControlNet takes {', '.join(KINDS)} as condition, not '{config.kind}'")
        self.config = config
        where = {"device": device, "dtype": dtype}
        first, widths = config.channels[0], _residual_widths(config)
        self.conv_in = ops.Conv2d(config.latent, first, 3, padding=1, **where)
        self.controlnet_cond_embedding = _embedding(config, ops, **where)
        self.time_embedding = TimeEmbedding(first, ops, **where)
        self.down_blocks = nn.ModuleList(
            DownBlock(config, level, ops, **where) for level in range(len(config.channels))
        )
        self.mid_block = MidBlock(config, ops, **where)
        self.controlnet_down_blocks = nn.ModuleList(
            _zeroed(ops.Conv2d(width, width, 1, **where)) for width in widths
        )
        self.controlnet_mid_block = _zeroed(ops.Conv2d(config.channels[-1], config.channels[-1], 1, **where))
        self.lora: SwitchableLora | None = None

    def forward(
        self,
        condition: Tensor,
        timestep: Tensor | float,
        context: Tensor,
        strength: float | Tensor = 1.0,
        mix: LoraMix = BASE,
        places: Tensor | None = None,
    ) -> Residuals:
        """Residuals for B clips of F frames, (B F) C H W each, times `strength`.

        Args:
            condition: B F C H W, or 1 F C H W for all clips: latents and mask ("image"), images in 0..1 and
                mask at 8 times the latent size ("pixels"), or dx and dy in pixels at 8 times the latent size
                ("flow"). Frames without an image are zero, mask included.
            timestep: 0..999 of training; one number, or (B F).
            context: text states (B F) x T x D.
            strength: factor on all residuals: a number, or (F,) for each frame.
            mix: which LoRAs act, and how much.
            places: (F,) the frames' numbers in a longer clip of which these are some; None = 0 to F-1.

        Raises:
            ValueError: the shapes do not fit each other or the network, or it lacks a LoRA of the mix.
        """
        clips = self._check(condition, context)
        check_mix(self, mix)
        frames = condition.shape[1]
        time = torch.as_tensor(timestep, device=condition.device).reshape(-1)
        if len(time) not in (1, clips * frames):
            raise ValueError(f"Expected one time step, or {clips * frames} for all frames, got {len(time)}")
        if mix.per_frame:
            time = time.expand(clips * frames)
        if isinstance(strength, Tensor):
            strength = strength.to(condition).repeat(clips).view(-1, 1, 1, 1)
        with nullcontext() if self.lora is None else self.lora.use(mix, condition):
            down, mid = self._residuals(condition, time, context, clips, places)
        return Residuals(tuple(x * strength for x in down), mid * strength)

    def _residuals(self, condition, time, context, clips: int, places) -> Residuals:
        frames, config = condition.shape[1], self.config
        x = self._embed(condition).expand(clips, -1, -1, -1, -1).flatten(0, 1)
        # zeros everywhere give the bias; the rows are equal where weights of frames have made several
        x = x + self.conv_in(x.new_zeros(1, config.latent, 1, 1))[:1]
        time = self.time_embedding(time_features(time, config.channels[0]).to(x.dtype))
        outputs = [x]
        for block in self.down_blocks:
            outputs += block(outputs[-1], time, context, frames, places)
        mid = self.controlnet_mid_block(self.mid_block(outputs[-1], time, context))
        return Residuals(
            tuple(conv(x) for conv, x in zip(self.controlnet_down_blocks, outputs, strict=True)), mid
        )

    def _embed(self, condition: Tensor) -> Tensor:
        shape = VideoShape(*condition.shape[:2], *condition.shape[3:])
        x = shape.join(condition)
        if self.config.kind == "flow":
            x = functional.pixel_unshuffle(x, LATENT_STRIDE)  # channel c * 64 + dy * 8 + dx
        return shape.split(self.controlnet_cond_embedding(x))

    def _check(self, condition: Tensor, context: Tensor) -> int:
        """Number of clips."""
        config = self.config
        if condition.ndim != 5 or condition.shape[2] != config.condition:
            raise ValueError(
                f"The condition must be clips x frames x {config.condition} x height x width "
                f"({config.kind}), got {tuple(condition.shape)}"
            )
        pixels = config.kind != "image"
        if pixels and (condition.shape[3] % LATENT_STRIDE or condition.shape[4] % LATENT_STRIDE):
            raise ValueError(
                f"Width and height of the condition must be multiples of {LATENT_STRIDE}, "
                f"got {condition.shape[4]}x{condition.shape[3]}"
            )
        if context.ndim != 3 or context.shape[2] != config.context:
            raise ValueError(
                f"The video ControlNet takes text states {config.context} wide, got {tuple(context.shape)}"
            )
        clips, left = divmod(context.shape[0], condition.shape[1])
        if left or not clips or condition.shape[0] not in (1, clips):
            raise ValueError(
                f"Text states of {context.shape[0]} frames do not fit a condition of {condition.shape[0]} "
                f"clips of {condition.shape[1]} frames"
            )
        return clips


def _embedding(config: ControlConfig, ops, **where) -> nn.Module:
    if config.kind == "pixels":
        return PixelEmbedding(config.condition, config.embedding, config.channels[0], ops, **where)
    cells = LATENT_STRIDE**2 if config.kind == "flow" else 1
    return _zeroed(ops.Conv2d(config.condition * cells, config.channels[0], 3, padding=1, **where))


def _residual_widths(config: ControlConfig) -> list[int]:
    """Width of each residual: of `conv_in`, of each layer, of each downsampler."""
    widths = [config.channels[0]]
    for level, width in enumerate(config.channels):
        last = level == len(config.channels) - 1
        widths += [width] * (config.layers_per_block + (not last))
    return widths


def _zeroed(layer: nn.Module) -> nn.Module:
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer
