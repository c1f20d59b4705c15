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


def strengthened(embedding: Tensor, empty: Tensor, weight: float) -> Tensor:
    """An embedding 1 x ... that acts `weight` times as strongly: its distance from the empty prompt's scales.

    What ComfyUI's (text:1.2) does to single words. The two may have different numbers of tokens, 1 x T x C.
    """
    if weight == 1.0:
        return embedding
    if embedding.ndim == 3:
        embedding, empty = same_length([embedding, empty])
    return empty + weight * (embedding - empty)


def blend(embeddings: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Weighted sums of K embeddings, 1 x ... each, by `weights` (F, K): F x ... in the embeddings' dtype.

    A frame where one key has the weight 1 gets exactly that key's embedding.
    """
    stacked = torch.cat(list(embeddings)).float()  # K x ...
    return torch.tensordot(weights.to(stacked), stacked, dims=1).to(embeddings[0].dtype)
