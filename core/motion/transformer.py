"""The temporal transformer: self-attention over the frames of a clip, at every pixel on its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# Attention kernels of accelerators put sequences times heads on one grid axis, which ends at 65535.
GRID_LIMIT = 65535
# On the CPU the widest intermediate (8 C a token) of this many tokens stays in cache and reused memory, and
# matrix products run at full speed: 15 % faster than all at once (320 channels, 128 px, 16 frames).
CPU_TOKENS = 1024


def position_table(frames: int, channels: int) -> Tensor:
    """Sinusoidal positions ("Attention Is All You Need", 3.5): F x C float32, sine even, cosine odd."""
    position = torch.arange(frames, dtype=torch.float32, device="cpu")[:, None]
    rate = torch.exp(
        torch.arange(0, channels, 2, dtype=torch.float32, device="cpu") * (-math.log(10000.0) / channels)
    )
    return torch.stack((torch.sin(position * rate), torch.cos(position * rate)), dim=-1).flatten(1)


def frame_attention(qkv: Tensor, heads: int, scale: float | None) -> Tensor:
    """Attention of each frame to every frame of its own sequence.

    `qkv` is N x F x (3 C), N sequences with queries, keys and values side by side; returns N x F x C.
    `scale` multiplies the logits on top of 1/sqrt(C / heads).
    """
    sequences, frames, width = qkv.shape
    size = width // (3 * heads)
    query, key, value = qkv.view(sequences, frames, 3, heads, size).permute(
        2, 0, 3, 1, 4
    )  # 3 x N x heads x F x size
    factor = (1.0 if scale is None else scale) / math.sqrt(size)
    mixed = functional.scaled_dot_product_attention(query, key, value, scale=factor)
    return mixed.transpose(1, 2).reshape(sequences, frames, width // 3)


class FrameAttention(nn.Module):
    """LayerNorm -> + positions -> self-attention over frames -> output projection, without the residual."""

    def __init__(self, channels, heads, ops=nn, device=None, dtype=None):
        """Make the layers for `channels` channels in `heads` heads; q, k, v are one Linear without bias."""
        super().__init__()
        self.heads = heads
        self.norm = ops.LayerNorm(channels, device=device, dtype=dtype)
        self.qkv = ops.Linear(channels, 3 * channels, bias=False, device=device, dtype=dtype)
        self.out = ops.Linear(channels, channels, device=device, dtype=dtype)

    def forward(self, x: Tensor, positions: Tensor, scale: float | None) -> Tensor:
        """Mix `x` N x F x C over F; `positions` is F x C and is added to the normed input."""
        normed = self.norm(x)
        normed += positions
        return self.out(frame_attention(self.qkv(normed), self.heads, scale))


class FeedForward(nn.Module):
    """LayerNorm -> GEGLU (exact gelu) of four times the width -> Linear, without the residual."""

    def __init__(self, channels, ops=nn, device=None, dtype=None):
        """Make the layers for `channels` channels."""
        super().__init__()
        self.norm = ops.LayerNorm(channels, device=device, dtype=dtype)
        self.expand = ops.Linear(channels, 8 * channels, device=device, dtype=dtype)
        self.reduce = ops.Linear(4 * channels, channels, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` ... x C to the same shape."""
        value, gate = self.expand(self.norm(x)).chunk(2, dim=-1)
        return self.reduce(functional.gelu(gate).mul_(value))


class TemporalTransformer(nn.Module):
    """One motion module: GroupNorm, proj_in, temporal attentions, GEGLU feed-forward, proj_out, residual.

    `proj_out` starts at zero, so a fresh module changes nothing. `clip_norm` takes the GroupNorm's statistics
    over all frames of a clip, as diffusers' UNetMotionModel does; the published AnimateDiff code takes them
    per frame.
    """

    def __init__(
        self,
        channels: int,
        attentions: int = 2,
        heads: int = 8,
        max_frames: int = 32,
        norm_groups: int = 32,
        ops=nn,
        device=None,
        dtype=None,
        clip_norm: bool = False,
    ):
        """Make the layers from `ops`; raises ValueError when heads or norm groups do not divide."""
        super().__init__()
        if channels % heads or channels % norm_groups:
            raise ValueError(
                f"{channels} channels do not divide into {heads} heads and {norm_groups} norm groups"
            )
        where = {"device": device, "dtype": dtype}
        self.channels, self.heads, self.max_frames, self.clip_norm = channels, heads, max_frames, clip_norm
        self.norm = ops.GroupNorm(norm_groups, channels, eps=1e-6, **where)
        self.proj_in = ops.Linear(channels, channels, **where)
        self.attentions = nn.ModuleList(
            FrameAttention(channels, heads, ops, **where) for _ in range(attentions)
        )
        self.feed_forward = FeedForward(channels, ops, **where)
        self.proj_out = ops.Linear(channels, channels, **where)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)
        self.register_buffer("positions", position_table(max_frames, channels), persistent=False)

    def forward(
        self,
        x: Tensor,
        frames: int,
        scale: float | None = None,
        effect: float | Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """Mix the frames of each clip in `x`, (B F) C H W, and give the same shape.

        `scale` multiplies the attention logits; `effect`, a number or a tensor (F,), multiplies what is added
        to `x`; `places` (F,), whole numbers, says which frames of a longer clip these are (default the first
        F). Raises ValueError when the batch is no multiple of `frames` or `frames` is over the position
        table.
        """
        self._check(x, frames)
        clips, height, width = x.shape[0] // frames, *x.shape[2:]
        tokens = (
            self._normed(x, clips).permute(0, 3, 4, 1, 2).reshape(-1, frames, self.channels)
        )  # (B H W) x F x C
        positions = self.positions[:frames] if places is None else self.positions[places]
        positions = positions.to(device=x.device, dtype=x.dtype)
        limit = max(1, CPU_TOKENS // frames if x.device.type == "cpu" else GRID_LIMIT // self.heads)
        even = tokens.chunk(-(-len(tokens) // limit))  # no part that is left over
        parts = [self._change(part, positions, scale) for part in even]
        change = parts[0] if len(parts) == 1 else torch.cat(parts)
        if isinstance(effect, Tensor):
            change = change * effect.to(change).view(frames, 1)
        elif effect is not None:
            change = change * effect
        change = change.view(clips, height, width, frames, self.channels).permute(0, 3, 4, 1, 2)
        return (x.unflatten(0, (clips, frames)) + change).flatten(0, 1)

    def _change(self, tokens: Tensor, positions: Tensor, scale: float | None) -> Tensor:
        tokens = self.proj_in(tokens)
        for attention in self.attentions:
            tokens = attention(tokens, positions, scale).add_(tokens)
        tokens = self.feed_forward(tokens).add_(tokens)
        return self.proj_out(tokens)

    def _normed(self, x: Tensor, clips: int) -> Tensor:
        if self.clip_norm:
            return self.norm(x.unflatten(0, (clips, -1)).transpose(1, 2)).transpose(1, 2)  # B F C H W
        return self.norm(x).unflatten(0, (clips, -1))

    def _check(self, x: Tensor, frames: int) -> None:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ValueError(f"Motion module expects frames x {self.channels} x H x W, got {tuple(x.shape)}")
        if frames < 1 or x.shape[0] % frames:
            raise ValueError(f"A batch of {x.shape[0]} does not divide into clips of {frames} frames")
        if frames > self.max_frames:
            raise ValueError(
                f"{frames} frames are more than the {self.max_frames} this motion module was trained for; "
                "use 'Context Windows' to sample longer clips"
            )
