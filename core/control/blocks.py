"""The parts of Stable Diffusion 1.5's encoder: residual block, spatial transformer, time embedding.

Modules and their weights are named as in diffusers and in the published ControlNet files, so that those load
without a table of names.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL_EPS = 1e-5
TRANSFORMER_EPS = 1e-6


def time_features(timestep: Tensor, channels: int) -> Tensor:
    """Sinusoids of diffusion time steps: N -> N x channels float32, cosines first."""
    half = channels // 2
    rate = torch.exp(
        torch.arange(half, dtype=torch.float32, device=timestep.device) * (-math.log(10000.0) / half)
    )
    angle = timestep.float()[:, None] * rate
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


class TimeEmbedding(nn.Module):
    """Linear -> SiLU -> Linear, from `channels` sinusoids to four times as many values."""

    def __init__(self, channels: int, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`."""
        super().__init__()
        self.linear_1 = ops.Linear(channels, 4 * channels, device=device, dtype=dtype)
        self.linear_2 = ops.Linear(4 * channels, 4 * channels, device=device, dtype=dtype)

    def forward(self, features: Tensor) -> Tensor:
        """Map N x C to N x 4C."""
        return self.linear_2(functional.silu(self.linear_1(features)))


class ResBlock(nn.Module):
    """GroupNorm -> SiLU -> 3x3, plus the time embedding, GroupNorm -> SiLU -> 3x3, residual."""

    def __init__(self, before: int, after: int, time: int, groups: int, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`: `before` channels in, `after` out, time embedding `time` wide."""
        super().__init__()
        where = {"device": device, "dtype": dtype}
        self.norm1 = ops.GroupNorm(groups, before, eps=RESIDUAL_EPS, **where)
        self.conv1 = ops.Conv2d(before, after, 3, padding=1, **where)
        self.time_emb_proj = ops.Linear(time, after, **where)
        self.norm2 = ops.GroupNorm(groups, after, eps=RESIDUAL_EPS, **where)
        self.conv2 = ops.Conv2d(after, after, 3, padding=1, **where)
        self.conv_shortcut = ops.Conv2d(before, after, 1, **where) if before != after else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map `x` N x C H W; `time` is N x T, or 1 x T when all of the batch share a time step."""
        inner = self.conv1(functional.silu(self.norm1(x)))
        inner = inner + self.time_emb_proj(functional.silu(time))[:, :, None, None]
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return inner + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """Multi-head attention of tokens to a context; q, k, v without bias."""

    def __init__(self, channels: int, context: int, heads: int, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`: queries of `channels`, keys and values from a `context` wide."""
        super().__init__()
        where = {"device": device, "dtype": dtype}
        self.heads = heads
        self.to_q = ops.Linear(channels, channels, bias=False, **where)
        self.to_k = ops.Linear(context, channels, bias=False, **where)
        self.to_v = ops.Linear(context, channels, bias=False, **where)
        self.to_out = nn.ModuleList([ops.Linear(channels, channels, **where)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map `x` N x L x C with `context` N x T x D to N x L x C."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), self.to_k(context), self.to_v(context))
        )  # N x heads x tokens x size
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.to_out[0](mixed.transpose(1, 2).flatten(2))


class Gated(nn.Module):
    """GEGLU with the exact gelu."""

    def __init__(self, before: int, after: int, ops=nn, device=None, dtype=None):
        """Make the projection to values and gates from `ops`."""
        super().__init__()
        self.proj = ops.Linear(before, 2 * after, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map ... x before to ... x after."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * functional.gelu(gate)


class FeedForward(nn.Module):
    """GEGLU to four times the width, and a Linear back."""

    def __init__(self, channels: int, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`; the middle one stands where the published nets have a dropout."""
        super().__init__()
        where = {"device": device, "dtype": dtype}
        self.net = nn.Sequential(
            Gated(channels, 4 * channels, ops, **where),
            nn.Identity(),
            ops.Linear(4 * channels, channels, **where),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ... x C to the same shape."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention over pixels, cross-attention to text, feed-forward; LayerNorm before each, residual."""

    def __init__(self, channels: int, context: int, heads: int, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`."""
        super().__init__()
        where = {"device": device, "dtype": dtype}
        self.norm1, self.norm2, self.norm3 = (ops.LayerNorm(channels, **where) for _ in range(3))
        self.attn1 = Attention(channels, channels, heads, ops, **where)
        self.attn2 = Attention(channels, context, heads, ops, **where)
        self.ff = FeedForward(channels, ops, **where)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map `x` N x L x C with text states `context` N x T x D to N x L x C."""
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """GroupNorm -> 1x1 -> one transformer block over the pixels of each frame -> 1x1 -> residual."""

    def __init__(self, channels: int, context: int, heads: int, groups: int, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`; raises ValueError when the heads do not divide the channels."""
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels do not divide into {heads} attention heads")
        where = {"device": device, "dtype": dtype}
        self.norm = ops.GroupNorm(groups, channels, eps=TRANSFORMER_EPS, **where)
        self.proj_in = ops.Conv2d(channels, channels, 1, **where)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, context, heads, ops, **where)])
        self.proj_out = ops.Conv2d(channels, channels, 1, **where)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map `x` N x C H W with text states `context` N x T x D to N x C H W."""
        tokens = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)  # N x (H W) x C
        tokens = self.transformer_blocks[0](tokens, context)
        return x + self.proj_out(tokens.transpose(1, 2).unflatten(2, x.shape[2:]))


class Downsampler(nn.Module):
    """3x3 convolution with stride 2."""

    def __init__(self, channels: int, ops=nn, device=None, dtype=None):
        """Make the convolution from `ops`."""
        super().__init__()
        self.conv = ops.Conv2d(channels, channels, 3, stride=2, padding=1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C H W to N x C H/2 W/2, rounded up."""
        return self.conv(x)
