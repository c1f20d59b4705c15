"""CLIP's picture encoder, with CLIP's own weight names, in any size.

Published image prompts use the stock CLIP ViT-L/14. The demo's are too small for that, so their file brings
an encoder of this kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of a picture encoder; the feed-forward layers are `inner` wide."""

    width: int = 1024
    layers: int = 24
    heads: int = 16
    inner: int = 4096
    patch: int = 14
    image: int = 224


def standardized(pictures: Tensor) -> Tensor:
    """Pictures N x 3 x H x W in 0..1, less CLIP's mean and divided by its deviation."""
    mean, deviation = (pictures.new_tensor(value).view(3, 1, 1) for value in (MEAN, DEVIATION))
    return (pictures - mean) / deviation


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, ops, where: dict):
        super().__init__()
        self.heads = heads
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.add_module(name, ops.Linear(width, width, **where))

    def forward(self, x: Tensor) -> Tensor:
        parts = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in self._inputs())
        return self.out_proj(functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))

    def _inputs(self):
        return self.q_proj, self.k_proj, self.v_proj


class _FeedForward(nn.Module):
    def __init__(self, width: int, inner: int, ops, where: dict):
        super().__init__()
        self.fc1, self.fc2 = ops.Linear(width, inner, **where), ops.Linear(inner, width, **where)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class _Layer(nn.Module):
    def __init__(self, config: VisionConfig, ops, where: dict):
        super().__init__()
        self.layer_norm1 = ops.LayerNorm(config.width, **where)
        self.self_attn = _Attention(config.width, config.heads, ops, where)
        self.layer_norm2 = ops.LayerNorm(config.width, **where)
        self.mlp = _FeedForward(config.width, config.inner, ops, where)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class _Embeddings(nn.Module):
    def __init__(self, config: VisionConfig, ops, where: dict):
        super().__init__()
        patches = (config.image // config.patch) ** 2
        self.class_embedding = nn.Parameter(torch.randn(config.width, **where) * config.width**-0.5)
        self.patch_embedding = ops.Conv2d(
            3, config.width, config.patch, stride=config.patch, bias=False, **where
        )
        self.position_embedding = ops.Embedding(patches + 1, config.width, **where)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches).expand(len(patches), 1, -1)
        places = torch.arange(patches.shape[1] + 1, device=pixels.device)
        return torch.cat((first, patches), dim=1) + self.position_embedding(places).to(patches)


class VisionTower(nn.Module):
    """A CLIP picture encoder up to its last layer, without the norm and projection behind it."""

    def __init__(self, config: VisionConfig, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`, under the names that CLIP files have behind `vision_model.`."""
        super().__init__()
        where = {"device": device, "dtype": dtype}
        self.config = config
        self.embeddings = _Embeddings(config, ops, where)
        self.pre_layrnorm = ops.LayerNorm(config.width, **where)  # spelt as in the files
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(_Layer(config, ops, where) for _ in range(config.layers))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Standardized pictures N x 3 x S x S -> hidden states N x (1 + patches) x width.

        Number 0 is the normed embeddings, number k the output of layer k.
        """
        states = [self.pre_layrnorm(self.embeddings(pixels))]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        return states
