"""The fine half of an image prompt: a picture's keys and values in the self-attention of a clip.

    V0_new = Attn(Q_0, [K_I ; K_0], [V_I ; V_0]),  V'_0 = V0_new,  V'_f = V_f,  p(0) = 0,  p(f) = f - 1
    out_f  = Attn(Q_f, [K_0 ; K_p(f)], [V'_0 ; V'_p(f)])                          (VideoBooth, fine injection)

A frame's weight says how much of a picture it sees: 0 nothing, 1 as above, in between a mixture, and above 1
the picture's tokens count that many times. Several pictures are one picture with all their tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

DIVIDED = (
    "Another node divides or merges the tokens of the self-attention (HyperTile, Token Merging); connect the "
    "model from before that node"
)


class Picture(NamedTuple):
    """Keys and values of one picture at one layer: T_I x C each."""

    key: Tensor
    value: Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Multi-head attention of N x T x C to N x S x C, before the output projection; `bias` (S,) on logits."""
    split = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    mixed = functional.scaled_dot_product_attention(*split, attn_mask=None if bias is None else bias[None])
    return mixed.transpose(1, 2).flatten(2)


def first_value(
    query: Tensor, key: Tensor, value: Tensor, pictures: Sequence[Picture], weights: Tensor, heads: int
) -> Tensor:
    """V0_new, T x C, from frame 0's query, key and value (T x C) and the weights (P,) of the pictures."""
    seen = weights.nonzero().flatten().tolist()
    keys = torch.cat([*(pictures[p].key for p in seen), key])
    values = torch.cat([*(pictures[p].value for p in seen), value])
    bias = None
    if any(float(weights[p]) != 1.0 for p in seen):
        parts = [weights[p].log().expand(len(pictures[p].key)) for p in seen]
        bias = torch.cat([*parts, torch.zeros(len(key))]).to(query)
    return attend(query[None], keys[None], values[None], heads, bias)[0]


def chained(query: Tensor, key: Tensor, value: Tensor, first: Tensor, heads: int) -> Tensor:
    """Every frame attends to the first and the one before: F x T x C each -> F x T x C.

    `first` (F x T x C, or T x C for all) is V'_0 as each frame sees it.
    """
    seen = first if first.ndim == 3 else first.expand_as(value)
    previous = torch.cat((seen[:2], value[1:-1]))  # p(0) = p(1) = 0
    before = torch.cat((key[:1], key[:-1]))
    keys = torch.cat((key[:1].expand_as(key), before), dim=1)
    return attend(query, keys, torch.cat((seen, previous), dim=1), heads)


def with_pictures(
    query: Tensor, key: Tensor, value: Tensor, pictures: Sequence[Picture], weights: Tensor, heads: int
) -> Tensor:
    """out_f of one clip before the output projection: F x T x C each, `weights` (F, P) over 0 in each row.

    Rows are taken relative to min(1, their largest weight): what lies below 1 is the caller's mixture.
    """
    share = weights / weights.amax(1, keepdim=True).clamp(max=1.0)
    rows, which = torch.unique(share.cpu(), dim=0, return_inverse=True)
    firsts = [first_value(query[0], key[0], value[0], pictures, row, heads) for row in rows]
    first = firsts[0] if len(firsts) == 1 else torch.stack(firsts)[which.to(query.device)]
    return chained(query, key, value, first, heads)


def mixed(
    clip: tuple[Tensor, Tensor, Tensor],
    pictures: Sequence[Picture],
    weights: Tensor,
    heads: int,
    plain: tuple[Tensor, Tensor, Tensor] | None = None,
    sees: bool = True,
) -> Tensor:
    """Attention of one clip (query, key and value, F x T x C) as each frame's `weights` (F, P) say.

    The weights are on the CPU. Without pictures the frames attend as `chained` says, or with `plain` (query,
    key and value) each to itself, as an image model's do. A clip that does not see them (`sees` False: the
    negative prompt's) attends as one that does in all but the pictures, or guidance would amplify that
    difference too.
    """
    amount = weights.amax(1).clamp(max=1.0) if weights.shape[1] else weights.new_zeros(len(weights))
    if not bool(amount.any()) or (plain is None and not sees):
        return chained(*clip, clip[2][0], heads) if plain is None else attend(*plain, heads)
    if sees:
        full = weights.where(amount[:, None] > 0, weights[amount.argmax()])
        found = with_pictures(*clip, pictures, full, heads)
    else:
        found = chained(*clip, clip[2][0], heads)
    if bool((amount == 1).all()):
        return found
    without = chained(*clip, clip[2][0], heads) if plain is None else attend(*plain, heads)
    return without + (found - without) * amount.to(found)[:, None, None]
