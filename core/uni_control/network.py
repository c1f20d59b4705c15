"""The networks of Uni-ControlNet (Zhao et al. 2023): a local adapter for maps, a global one for content.

Layers are those of `core.control.blocks`; where they sit follows the published files: input_blocks count all
layers of the encoder, and the first ResBlock of each level takes in the features of the maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..control.blocks import (
    Downsampler,
    Gated,
    ResBlock,
    SpatialTransformer,
    TimeEmbedding,
    time_features,
)
from ..control.network import LATENT_STRIDE, Residuals

CONDITIONS = ("canny", "mlsd", "hed", "sketch", "openpose", "midas", "segmentation")  # in the file's order
MAP_CHANNELS = 3 * len(CONDITIONS)
NORM_EPS = 1e-5
TOKENS = 4  # of content
GRID = 4  # cells a side of the content of latents
STEM = ((MAP_CHANNELS, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1))  # in, out, stride


@dataclass(frozen=True)
class UniConfig:
    """What shapes a local adapter, as `core.control.network.ControlConfig`; `features` a level of the maps.

    content: width of the picture embedding that the global adapter takes, 0 without one. content_of: where it
    comes from: "clip", CLIP's picture encoder, or "latent", a picture's latents averaged over a 4 x 4 grid,
    for models that have no such encoder.
    """

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attends: tuple[bool, ...] = (True, True, True, False)
    layers_per_block: int = 2
    context: int = 768
    latent: int = 4
    heads: int = 8
    norm_groups: int = 32
    features: tuple[int, ...] = (192, 256, 384, 512)
    content: int = 768
    content_of: str = "clip"


class Modulation(nn.Module):
    """A norm without weights of its own, scaled and moved by features: norm(x) (1 + gamma(f)) + beta(f)."""

    def __init__(self, channels: int, features: int, groups: int, ops=nn, device=None, dtype=None):
        """Make the convolutions from `ops`."""
        super().__init__()
        where = {"padding": 1, "device": device, "dtype": dtype}
        self.groups = groups
        self.conv_gamma = ops.Conv2d(features, channels, 3, **where)
        self.conv_beta = ops.Conv2d(features, channels, 3, **where)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Map `x` N x C H W with features N x D H W to N x C H W."""
        normed = functional.group_norm(x, self.groups, eps=NORM_EPS)
        return normed * (1 + self.conv_gamma(features)) + self.conv_beta(features)


class ModulatedResBlock(ResBlock):
    """A ResBlock whose two norms are modulations by the maps' features."""

    def __init__(
        self, before: int, after: int, time: int, groups: int, features: int, ops=nn, device=None, dtype=None
    ):
        """Make the layers from `ops`, as `ResBlock` does."""
        super().__init__(before, after, time, groups, ops, device, dtype)
        self.norm1 = Modulation(before, features, groups, ops, device, dtype)
        self.norm2 = Modulation(after, features, groups, ops, device, dtype)

    def forward(self, x: Tensor, time: Tensor, features: Tensor) -> Tensor:
        """Map `x` N x C H W; features N x D H W."""
        inner = self.conv1(functional.silu(self.norm1(x, features)))
        inner = inner + self.time_emb_proj(functional.silu(time))[:, :, None, None]
        inner = self.conv2(functional.silu(self.norm2(inner, features)))
        return inner + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class FeatureExtractor(nn.Module):
    """Maps at pixel size -> features at 1/8, 1/16 and so on, one for each level."""

    def __init__(self, features: tuple[int, ...], ops=nn, device=None, dtype=None):
        """Make the convolutions from `ops`; the last ones start at zero."""
        super().__init__()
        where = {"padding": 1, "device": device, "dtype": dtype}
        widths = (STEM[-1][1], *features)
        self.stem = nn.ModuleList(ops.Conv2d(a, b, 3, stride=stride, **where) for a, b, stride in STEM)
        self.levels = nn.ModuleList(
            ops.Conv2d(a, b, 3, stride=2, **where) for a, b in zip(widths, features, strict=False)
        )
        self.outputs = nn.ModuleList(_zeroed(ops.Conv2d(width, width, 3, **where)) for width in features)

    def forward(self, maps: Tensor) -> list[Tensor]:
        """Map N x 21 x H x W in 0..1 to N x features_i x H/8/2^i x W/8/2^i."""
        x, found = maps, []
        for conv in self.stem:
            x = functional.silu(conv(x))
        for conv, output in zip(self.levels, self.outputs, strict=True):
            x = functional.silu(conv(x))
            found.append(output(x))
        return found


class LocalAdapter(nn.Module):
    """Noisy latents, text and maps -> residuals for the UNet's skips and middle, as a ControlNet's."""

    def __init__(self, config: UniConfig, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`."""
        super().__init__()
        self.config = config
        where = (ops, device, dtype)
        widths, time = config.channels, 4 * config.channels[0]
        self.time_embedding = TimeEmbedding(widths[0], *where)
        self.feature_extractor = FeatureExtractor(config.features, *where)
        conv_in = ops.Conv2d(config.latent, widths[0], 3, padding=1, device=device, dtype=dtype)
        blocks, outputs, before = [nn.ModuleList([conv_in])], [widths[0]], widths[0]
        for level, width in enumerate(widths):
            for layer in range(config.layers_per_block):
                blocks.append(_layer(config, level, layer, before, where))
                before = width
                outputs.append(width)
            if level < len(widths) - 1:
                blocks.append(nn.ModuleList([Downsampler(width, *where)]))
                outputs.append(width)
        last, groups = widths[-1], config.norm_groups
        self.input_blocks = nn.ModuleList(blocks)
        self.middle_block = nn.ModuleList(
            [
                ResBlock(last, last, time, groups, *where),
                SpatialTransformer(last, config.context, config.heads, groups, *where),
                ResBlock(last, last, time, groups, *where),
            ]
        )
        self.zero_convs = nn.ModuleList(
            _zeroed(ops.Conv2d(width, width, 1, device=device, dtype=dtype)) for width in (*outputs, last)
        )

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        maps: Tensor | Sequence[Tensor],
        strength: float | Tensor = 1.0,
    ) -> Residuals:
        """Residuals N x C H W, times `strength`.

        Args:
            x: noisy latents N x 4 x h x w, as the UNet sees them.
            timestep: N, or 1 for all.
            context: text states N x T x D, content tokens included.
            maps: N x 21 x 8h x 8w in 0..1, absent kinds zero (see `stack_maps`), or their `features`.
            strength: a number, or (N,).

        Raises:
            ValueError: the maps are of another size.
        """
        if isinstance(maps, Tensor):
            maps = self.features(maps, tuple(x.shape[2:]))
        time = self.time_embedding(time_features(timestep, self.config.channels[0]).to(x.dtype))
        features = iter(maps)
        outputs = []
        for block in self.input_blocks:
            x = _through(block, x, time, context, features)
            outputs.append(x)
        outputs.append(_through(self.middle_block, x, time, context, features))
        if isinstance(strength, Tensor):
            strength = strength.to(x).view(-1, 1, 1, 1)
        *down, mid = (conv(y) * strength for conv, y in zip(self.zero_convs, outputs, strict=True))
        return Residuals(tuple(down), mid)

    def features(self, maps: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """The maps' features a level, alike at all steps of sampling.

        maps: N x 21 x 8h x 8w for latents of `size` (h, w). Raises ValueError for another size.
        """
        expected = (MAP_CHANNELS, size[0] * LATENT_STRIDE, size[1] * LATENT_STRIDE)
        if tuple(maps.shape[1:]) != expected:
            raise ValueError(f"Control maps are {tuple(maps.shape[1:])}, the latents need {expected}.")
        return self.feature_extractor(maps)


def _layer(config: UniConfig, level: int, layer: int, before: int, where: tuple) -> nn.ModuleList:
    """ResBlock and, where the level attends, spatial transformer; the level's first takes the features."""
    width, time, groups = config.channels[level], 4 * config.channels[0], config.norm_groups
    if layer == 0:
        first = ModulatedResBlock(before, width, time, groups, config.features[level], *where)
    else:
        first = ResBlock(before, width, time, groups, *where)
    if not config.attends[level]:
        return nn.ModuleList([first])
    return nn.ModuleList([first, SpatialTransformer(width, config.context, config.heads, groups, *where)])


def _through(block: nn.ModuleList, x: Tensor, time: Tensor, context: Tensor, features) -> Tensor:
    for layer in block:
        if isinstance(layer, ModulatedResBlock):
            x = layer(x, time, next(features))
        elif isinstance(layer, ResBlock):
            x = layer(x, time)
        else:
            x = layer(x, context) if isinstance(layer, SpatialTransformer) else layer(x)
    return x


def _zeroed(layer: nn.Module) -> nn.Module:
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


class GlobalAdapter(nn.Module):
    """A picture's embedding -> four tokens to append to the text: LayerNorm and GEGLU, twice."""

    def __init__(self, width: int, context: int | None = None, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`: embeddings of `width` in, tokens of `context` (by default `width`)."""
        super().__init__()
        where = {"device": device, "dtype": dtype}
        target = TOKENS * (context or width)
        self.norm1, self.norm2 = ops.LayerNorm(width, **where), ops.LayerNorm(2 * width, **where)
        self.ff1 = nn.ModuleList(
            [Gated(width, 4 * width, ops, **where), ops.Linear(4 * width, 2 * width, **where)]
        )
        self.ff2 = nn.ModuleList(
            [Gated(2 * width, 8 * width, ops, **where), ops.Linear(8 * width, target, **where)]
        )

    def forward(self, embedding: Tensor) -> Tensor:
        """Map N x width to N x 4 x context. Zeros, for the negative prompt, go through it as well."""
        x = embedding
        for norm, layers in ((self.norm1, self.ff1), (self.norm2, self.ff2)):
            x = layers[1](layers[0](norm(x)))
        return x.unflatten(1, (TOKENS, -1))


class UniControlNet(nn.Module):
    """Both adapters of a file; `content` is None where the file has none."""

    def __init__(self, config: UniConfig, ops=nn, device=None, dtype=None):
        """Make them from `ops`."""
        super().__init__()
        self.config = config
        self.local = LocalAdapter(config, ops, device, dtype)
        width = config.content
        self.content = GlobalAdapter(width, config.context, ops, device, dtype) if width else None


def stack_maps(maps: dict[str, Tensor]) -> Tensor:
    """Maps by kind, N x 3 x H x W in 0..1 each (1 of them serves all) -> N x 21 x H x W, absent ones zero.

    Raises ValueError for an unknown kind, no map at all, or maps that differ in number or size.
    """
    unknown = next((kind for kind in maps if kind not in CONDITIONS), None)
    if unknown is not None or not maps:
        raise ValueError(f"Uni-ControlNet takes maps of {', '.join(CONDITIONS)}, got {unknown or 'none'}.")
    count, size = max(map(len, maps.values())), next(iter(maps.values())).shape[1:]
    for kind, value in maps.items():
        if value.shape[1:] != size or len(value) not in (1, count):
            raise ValueError(
                f"Control map {kind} is {tuple(value.shape)}, the others are {(count, *size)}; "
                "expected the same size, and one map or as many."
            )
    absent = next(iter(maps.values())).new_zeros(size)
    rows = [maps.get(kind, absent[None]).expand(count, -1, -1, -1) for kind in CONDITIONS]
    return torch.cat(rows, dim=1)


def latent_content(latents: Tensor) -> Tensor:
    """Content of pictures from their latents N x 4 x h x w: their means over a 4 x 4 grid, N x 64."""
    return functional.adaptive_avg_pool2d(latents.float(), GRID).flatten(1)
