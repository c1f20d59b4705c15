"""An image prompt model: what a file of one holds, by the places of a UNet where it acts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..control.blocks import Downsampler, ResBlock
from .attention import attend
from .mapper import Mapper
from .vision import VisionConfig, VisionTower

LAYERS = (24, 4, 8, 12, 16)  # hidden states of CLIP ViT-L/14 that the published mapper reads


@dataclass(frozen=True)
class Place:
    """One transformer block of a UNet: its name, as in diffusers, its width, and that of the text."""

    name: str
    channels: int
    context: int


@dataclass(frozen=True)
class MapperConfig:
    """Sizes of a mapper: it reads the hidden states `layers`, `source` wide, and gives `target` wide tokens.

    `vision`: the picture encoder that the file brings; None: the stock CLIP ViT-L/14.
    """

    source: int = 1024
    hidden: int = 1024
    target: int = 768
    layers: tuple[int, ...] = LAYERS
    vision: VisionConfig | None = None


@dataclass(frozen=True)
class ImagePromptConfig:
    """What a model holds; everything may be absent.

    places: the UNet's transformer blocks. mapper: the coarse half. text: keys and values of the
    cross-attention, trained with it. fine: keys and values for frames and for pictures. gains: trained
    strengths of the positions. temporal, cleaner: what the published video UNet has besides an image model's;
    `cleaner` are the widths of its watermark module's levels, with `cleaner_layers` ResBlocks each.
    null_text: the prompt that it was trained with where there is none.
    """

    places: tuple[Place, ...] = ()
    mapper: MapperConfig | None = None
    text: bool = False
    fine: bool = False
    gains: bool = False
    temporal: bool = False
    cleaner: tuple[int, ...] = ()
    cleaner_layers: int = 2
    cleaner_groups: int = 32
    null_text: str = ""
    name: str = ""


class KeyValue(nn.Module):
    """Keys and values from tokens, two Linears without bias."""

    def __init__(self, source: int, channels: int, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`."""
        super().__init__()
        where = {"bias": False, "device": device, "dtype": dtype}
        self.k, self.v = ops.Linear(source, channels, **where), ops.Linear(source, channels, **where)


class TemporalAttention(nn.Module):
    """LayerNorm -> attention over the frames of each pixel -> residual, as published, without positions."""

    def __init__(self, channels: int, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`."""
        super().__init__()
        where = {"device": device, "dtype": dtype}
        self.norm = ops.LayerNorm(channels, **where)
        self.q, self.k, self.v = (ops.Linear(channels, channels, bias=False, **where) for _ in range(3))
        self.out = ops.Linear(channels, channels, **where)

    def forward(self, x: Tensor, frames: int, heads: int) -> Tensor:
        """Map (B F) x T x C to the same shape."""
        tokens = x.unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1)  # (B T) x F x C
        normed = self.norm(tokens)
        change = self.out(attend(self.q(normed), self.k(normed), self.v(normed), heads))
        return (tokens + change).unflatten(0, (-1, x.shape[1])).transpose(1, 2).flatten(0, 1)


class PlaceWeights(nn.Module):
    """The weights of one place: `frame` and `picture` for self-attention, `text` for cross-attention."""

    def __init__(self, place: Place, config: ImagePromptConfig, ops=nn, device=None, dtype=None):
        """Make what the configuration says."""
        super().__init__()
        where, width = (ops, device, dtype), place.channels
        self.frame = KeyValue(width, width, *where) if config.fine else None
        self.picture = KeyValue(width, width, *where) if config.fine else None
        self.text = KeyValue(place.context, width, *where) if config.text else None
        self.temporal = TemporalAttention(width, *where) if config.temporal else None
        self.gain = nn.Parameter(torch.zeros((), device=device, dtype=dtype)) if config.gains else None


class Cleaner(nn.Module):
    """The published watermark module: a small U of ResBlocks on the UNet's last features, and a 1x1."""

    def __init__(
        self, widths: tuple[int, ...], time: int, layers: int, groups: int, ops=nn, device=None, dtype=None
    ):
        """Make the layers from `ops`; `time` is the width of the UNet's time embedding."""
        super().__init__()
        where = (ops, device, dtype)
        self.down, self.up, skips, before = nn.ModuleList(), nn.ModuleList(), [widths[0]], widths[0]
        for level, width in enumerate(widths):
            last = level == len(widths) - 1
            for _ in range(layers):
                self.down.append(ResBlock(before, width, time, groups, *where))
                before = width
                skips.append(width)
            if not last:
                self.down.append(Downsampler(width, *where))
                skips.append(width)
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(layers + 1):
                self.up.append(ResBlock(before + skips.pop(), width, time, groups, *where))
                before = width
            if level:
                self.up.append(ops.Conv2d(width, width, 3, padding=1, device=device, dtype=dtype))
        self.out = ops.Conv2d(widths[0], widths[0], 1, device=device, dtype=dtype)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Features N x C x H x W and time embedding N x T -> what is added to the features."""
        skips = [x]
        for layer in self.down:
            skips.append(layer(skips[-1], time) if isinstance(layer, ResBlock) else layer(skips[-1]))
        x = skips[-1]
        for layer in self.up:
            if isinstance(layer, ResBlock):
                x = layer(torch.cat((x, skips.pop()), dim=1), time)
            else:  # back to the size of the skip that comes next
                x = layer(functional.interpolate(x, size=skips[-1].shape[2:], mode="nearest"))
        return self.out(x)


class ImagePrompt(nn.Module):
    """The parts of one file; without any it still says where a UNet's transformer blocks are."""

    def __init__(self, config: ImagePromptConfig, ops=nn, device=None, dtype=None):
        """Make what the configuration says from `ops`."""
        super().__init__()
        self.config, sizes = config, config.mapper
        where = (ops, device, dtype)
        self.vision = VisionTower(sizes.vision, *where) if sizes and sizes.vision else None
        self.mapper = None
        if sizes:
            widths = (len(sizes.layers), sizes.source, sizes.hidden, sizes.target)
            self.mapper = Mapper(*widths, *where)
        self.places = nn.ModuleList(PlaceWeights(place, config, *where) for place in config.places)
        self.cleaner = None
        if config.cleaner:
            time = 4 * config.cleaner[0]
            self.cleaner = Cleaner(config.cleaner, time, config.cleaner_layers, config.cleaner_groups, *where)

    def tokens(self, states) -> Tensor:
        """Hidden states of a picture encoder, N x (1 + patches) x source each -> N x 5 x target tokens."""
        return torch.stack(self.mapper([states[layer] for layer in self.config.mapper.layers]), dim=1)
