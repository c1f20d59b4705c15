"""Sparse-causal attention and a tuning's weights in a UNet, by forward hooks.

Sparse-causal attention (Tune-A-Video Eq. 4): a frame's self-attention looks at frame 0 and at the frame
before, in place of itself. Blocks of ComfyUI's UNet and of diffusers' are alike in what the hooks need: the
layers to_q, to_k, to_v and to_out.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..image_prompt.attach import Block, find_blocks
from ..image_prompt.attention import DIVIDED, attend, chained
from ..motion.attach import Attachment
from ..motion.shared_norm import share_norms
from .network import PlaceTuning, VideoTuning


@dataclass
class TuningState:
    """What the hooks need for a call of the UNet; whoever calls it sets this before each call.

    frames: length of each clip in the batch. causal: how much of the self-attention is sparse-causal, 0 to 1.
    effect: factor on what a tuning changes. skip: names of places whose self-attention is left as it is. With
    `active` False the UNet runs as if nothing were attached.
    """

    frames: int = 1
    causal: float = 1.0
    effect: float = 1.0
    skip: frozenset[str] = frozenset()
    active: bool = True


def sparse_causal(query: Tensor, key: Tensor, value: Tensor, frames: int, heads: int) -> Tensor:
    """Each frame of (B F) x T x C attends to frame 0 and the one before, before the output projection."""
    clips = (part.unflatten(0, (-1, frames)) for part in (query, key, value))
    return torch.cat([chained(q, k, v, v[0], heads) for q, k, v in zip(*clips, strict=True)])


def check_places(tuning: VideoTuning, blocks: Sequence[Block]) -> None:
    """Raise ValueError, naming the first place that differs, unless the tuning was made for these blocks."""
    title = f"Video tuning '{tuning.config.name}'" if tuning.config.name else "The video tuning"
    theirs = {block.place.name: block.place.channels for block in blocks}
    for place in tuning.config.places:
        if theirs.get(place.name) != place.channels:
            found = f"{theirs[place.name]} wide" if place.name in theirs else "missing"
            raise ValueError(
                f"{title} is {place.channels} wide at {place.name}, which is {found} in this UNet: it was "
                "made for another kind of model"
            )


def attach(unet: nn.Module, state: TuningState, tuning: VideoTuning | None = None) -> list[Attachment]:
    """Make the UNet's self-attention sparse-causal, with a tuning's weights where there is one.

    It lasts until the handles are removed. Raises ValueError for a UNet without transformer blocks, or one
    that the tuning was not made for.
    """
    found = [attach_blocks(find_blocks(unet), state, tuning)]
    if tuning is not None and tuning.config.shared_norm:
        found.append(share_norms(unet, state))
    return found


def attach_blocks(
    blocks: Sequence[Block], state: TuningState, tuning: VideoTuning | None = None
) -> Attachment:
    """`attach` for transformer blocks alone. Raises ValueError."""
    weights: dict[str, PlaceTuning] = {}
    whole = False
    if tuning is not None:
        check_places(tuning, blocks)
        names = (place.name for place in tuning.config.places)
        weights, whole = dict(zip(names, tuning.places, strict=True)), tuning.config.whole
    hooks = [_Hooks(block, state, weights.get(block.place.name), whole) for block in blocks]
    return Attachment(handle for each in hooks for handle in each.handles())


class _Hooks:
    """The hooks of one block; between its query and its output they keep what the attention is made from."""

    def __init__(self, block: Block, state: TuningState, weights: PlaceTuning | None, whole: bool):
        self.name, self.block = block.place.name, block.module
        self.state, self.weights, self.whole = state, weights, whole
        self.query = self.key = self.result = None

    def handles(self) -> list:
        own, found = self.block.attn1, []
        if self.weights is not None:  # before the hooks that take the query
            found.append(own.to_q.register_forward_hook(self._tuned(self.weights.own)))
            found.append(self.block.attn2.to_q.register_forward_hook(self._tuned(self.weights.text)))
            found.append(self.block.register_forward_hook(self.on_block))
        return found + [
            own.to_q.register_forward_hook(self.on_query),
            own.to_k.register_forward_hook(self.on_key),
            own.to_v.register_forward_hook(self.on_value),
            own.to_out[0].register_forward_pre_hook(self.on_output),
        ]

    def _tuned(self, layer: nn.Module):
        def run(_layer, inputs, output):
            effect = self.state.effect
            if not self.state.active or effect == 0:
                return None
            change = layer(inputs[0]) - output if self.whole else layer(inputs[0])
            return output + effect * change

        return run

    def _replaces(self) -> bool:
        return self.state.active and self.state.causal > 0 and self.name not in self.state.skip

    def on_query(self, _layer, _inputs, output):
        """Keep the query."""
        self.result = None
        self.query = output if self._replaces() else None

    def on_key(self, _layer, _inputs, output):
        """Keep the keys; one token is enough for an attention whose result is replaced."""
        if not self._replaces():
            return None
        self.key = output
        return output[:, :1]

    def on_value(self, _layer, _inputs, output):
        """Now everything for the attention is there. Raises ValueError for frames that are divided."""
        if not self._replaces():
            return None
        if len(self.query) != len(output):
            raise ValueError(DIVIDED)
        state, heads = self.state, self.block.attn1.heads
        result = sparse_causal(self.query, self.key, output, state.frames, heads)
        if state.causal < 1:
            plain = attend(self.query, self.key, output, heads)
            result = plain + state.causal * (result - plain)
        self.result, self.query, self.key = result, None, None
        return output[:, :1]

    def on_output(self, _layer, inputs):
        """Hand the result to the output projection."""
        result, self.result = self.result, None
        return None if result is None else (result, *inputs[1:])

    def on_block(self, _block, _inputs, output):
        """The attention over frames comes last in a block."""
        state = self.state
        if not state.active or state.effect == 0:
            return None
        changed = self.weights.temporal(output, state.frames, self.block.attn1.heads)
        return changed if state.effect == 1 else output + state.effect * (changed - output)
