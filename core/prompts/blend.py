"""Blend prompt embeddings into one embedding a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def same_length(embeddings: Sequence[Tensor]) -> list[Tensor]:
    """Repeat the tokens of 1 x T x C embeddings up to their least common length.

    Cross-attention to tokens repeated a whole number of times equals attention to them once, so no prompt
    changes (padding with zeros would draw attention away).
    """
    length = math.lcm(*(embedding.shape[1] for embedding in embeddings))
    return [embedding.repeat(1, length // embedding.shape[1], 1) for embedding in embeddings]


def blend(embeddings: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Weighted sums of K embeddings, 1 x ... each, by `weights` (F, K): F x ... in the embeddings' dtype.

    A frame where one key has the weight 1 gets exactly that key's embedding.
    """
    stacked = torch.cat(list(embeddings)).float()  # K x ...
    return torch.tensordot(weights.to(stacked), stacked, dims=1).to(embeddings[0].dtype)
