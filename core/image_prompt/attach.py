"""Attach an image prompt model to a UNet by forward hooks, in ComfyUI's and in diffusers' spelling.

The hooks sit on layers that exist: projections to queries, keys and values give what the attention is made
from, and the output projection is handed the result. So no weight's name moves, and what a LoRA does to these
layers' weights still counts, except where an image prompt model has keys and values of its own: these take
the place of what the layers give, LoRA included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..motion.attach import Attachment
from ..motion.shared_norm import resblock_norms, share, share_norms
from ..motion.sites import find_sites
from .attention import DIVIDED, Picture, mixed
from .network import ImagePrompt, ImagePromptConfig, Place, PlaceWeights
from .positions import picture_positions, token_grid, video_positions

Captured = dict[str, list[Picture]]  # place -> keys and values of each picture there


class Block(NamedTuple):
    """A transformer block of a UNet, and where it is."""

    place: Place
    module: nn.Module


@dataclass
class PromptState:
    """What the hooks need for a call of the UNet; whoever calls it sets this before each call.

    frames: length of each clip in the batch; `numbers` (F,) are the frames' numbers in the clip. size: height
    and width of the latents of this call, `base` those that positions refer to. pictures: what was captured;
    `weights` (rows of the batch, pictures) how much each row sees of each, on the CPU; clips in `blind`, by
    number in the batch, attend alike without seeing. gain: added to the trained gains of the positions.
    skip: names of places that are left as they are. capture: when it is a dictionary, the batch is pictures,
    `frames` rows each, and their first rows' keys and values go in there.
    """

    frames: int = 1
    numbers: Tensor | None = None
    size: tuple[int, int] = (0, 0)
    base: tuple[int, int] = (0, 0)
    pictures: Captured = field(default_factory=dict)
    weights: Tensor | None = None
    blind: frozenset[int] = frozenset()
    gain: float = 0.0
    skip: frozenset[str] = frozenset()
    capture: Captured | None = None
    active: bool = True


def find_blocks(unet: nn.Module) -> tuple[Block, ...]:
    """Transformer blocks of a UNet in the order of its levels; raises ValueError where there are none."""
    found = []
    for site in find_sites(unet, mid_block=True):
        name = site.name.replace("motion_modules", "attentions")
        for number, block in enumerate(getattr(site.module, "transformer_blocks", ())):
            widths = block.attn1.to_q.in_features, block.attn2.to_k.in_features
            found.append(Block(Place(f"{name}.transformer_blocks.{number}", *widths), block))
    if not found:
        raise ValueError(f"{type(unet).__name__} has no transformer blocks that could see a picture")
    return tuple(found)


def unweighted(unet: nn.Module) -> ImagePrompt:
    """An image prompt model without weights of its own for this UNet: K_exemplar = K_new = K."""
    return ImagePrompt(ImagePromptConfig(places=tuple(block.place for block in find_blocks(unet))))


def check_places(model: ImagePrompt, blocks: Sequence[Block]) -> None:
    """Raise ValueError, naming the first place that differs, unless the model was made for these blocks."""
    title = f"Image prompt model '{model.config.name}'" if model.config.name else "The image prompt model"
    theirs = {block.place.name: block.place for block in blocks}
    for place in model.config.places:
        other = theirs.get(place.name)
        if other is None:
            raise ValueError(f"{title} has weights for {place.name}, which this UNet does not have")
        if other.channels != place.channels or place.context not in (0, other.context):
            raise ValueError(
                f"{title} is {place.channels} wide at {place.name}, for a text {place.context} wide; this "
                f"UNet is {other.channels} wide there, for {other.context}: it was made for another kind "
                "of model"
            )


def attach(
    model: ImagePrompt, unet: nn.Module, state: PromptState, shared_norm: bool = False
) -> list[Attachment]:
    """Run the model's parts in `unet` as `state` says, until the handles are removed. Raises ValueError.

    shared_norm: the ResBlocks' norms take their statistics over clips, as in the published video UNet.
    """
    found = [attach_blocks(model, find_blocks(unet), state)]
    if model.cleaner is not None:
        found.append(Attachment(_clean(model.cleaner, unet, state)))
    if shared_norm:
        found.append(share_norms(unet, state))
        if model.cleaner is not None:
            found.append(share(model.cleaner, resblock_norms(model.cleaner), state))
    return found


def attach_blocks(model: ImagePrompt, blocks: Sequence[Block], state: PromptState) -> Attachment:
    """`attach` for transformer blocks alone. Raises ValueError."""
    check_places(model, blocks)
    weights = dict(zip((place.name for place in model.config.places), model.places, strict=True))
    hooks = (
        _Hooks(block, weights[block.place.name], state) for block in blocks if block.place.name in weights
    )
    return Attachment(handle for each in hooks for handle in each.handles())


class _Hooks:
    """The hooks of one block; between its query and its output they keep what the attention is made from."""

    def __init__(self, block: Block, weights: PlaceWeights, state: PromptState):
        self.name, self.block = block.place.name, block.module
        self.weights, self.state = weights, state
        self.query = self.key = self.result = None
        self.replaces = False

    def handles(self) -> list:
        own, text = self.block.attn1, self.block.attn2
        found = [
            own.to_q.register_forward_hook(self.on_query),
            own.to_k.register_forward_hook(self.on_key),
            own.to_v.register_forward_hook(self.on_value),
            own.to_out[0].register_forward_pre_hook(self.on_output),
        ]
        if self.weights.text is not None:
            found.append(text.to_k.register_forward_hook(self._instead(self.weights.text.k)))
            found.append(text.to_v.register_forward_hook(self._instead(self.weights.text.v)))
        if self.weights.temporal is not None:
            found.append(self.block.register_forward_hook(self.on_block))
        return found

    def _instead(self, layer: nn.Module):
        def run(_layer, inputs, _output):
            return layer(inputs[0]) if self.state.active else None

        return run

    def on_query(self, _layer, _inputs, output):
        """Decide whether this call's attention is replaced, and keep the query for it."""
        state, self.result = self.state, None
        busy = self.weights.frame is not None or (
            state.capture is None and bool(state.pictures.get(self.name)) and bool(state.weights.any())
        )
        self.replaces = state.active and self.name not in state.skip and busy
        self.query = output if self.replaces else None

    def on_key(self, _layer, inputs, output):
        """The frames' keys; one token is enough for an attention whose result is replaced."""
        own, state = self.weights.frame, self.state
        if not state.active:
            return None
        key = output if own is None else own.k(inputs[0])
        self.key = key
        return key[:, :1] if self.replaces else key

    def on_value(self, _layer, inputs, output):
        """The frames' values: now everything is there. Raises ValueError where queries are others."""
        own, state = self.weights.frame, self.state
        if not state.active:
            return None
        value = output if own is None else own.v(inputs[0])
        if state.capture is not None:
            self._capture(inputs[0], value)
        if self.replaces:
            if self.query.shape[:2] != value.shape[:2]:
                raise ValueError(DIVIDED)
            self.result = self._attention(value)
            value = value[:, :1]
        self.query = self.key = None
        return value

    def on_output(self, _layer, inputs):
        """Hand the result to the output projection."""
        result, self.result = self.result, None
        return None if result is None else (result, *inputs[1:])

    def on_block(self, _block, _inputs, output):
        """The published temporal attention comes last in a block."""
        state = self.state
        if not state.active:
            return None
        return self.weights.temporal(output, state.frames, self.block.attn1.heads)

    def _gain(self):
        own = self.weights.gain  # in fp8 it cannot be added to
        return self.state.gain if own is None else own.float() + self.state.gain

    def _positioned(self) -> bool:
        return self.weights.gain is not None or self.state.gain != 0.0

    def _capture(self, tokens: Tensor, value: Tensor) -> None:
        """Keep keys and values of each picture's first row, positions added."""
        ours, first = self.weights.picture, slice(None, None, self.state.frames)
        pair = (self.key[first], value[first])
        if ours is not None:
            pair = ours.k(tokens[first]), ours.v(tokens[first])
        if self._positioned():
            grid = token_grid(tokens.shape[1], self.state.size)
            places = picture_positions(grid, self.state.base, pair[0].shape[-1], tokens.device).to(pair[0])
            pair = tuple(part + self._gain() * places for part in pair)
        self.state.capture[self.name] = [Picture(*rows) for rows in zip(*pair, strict=True)]

    def _attention(self, value: Tensor) -> Tensor:
        """The attention of every clip in the batch, (B F) x T x C."""
        state, heads = self.state, self.block.attn1.heads
        raw = [part.unflatten(0, (-1, state.frames)) for part in (self.query, self.key, value)]
        parts = self._with_positions(raw) if self._positioned() else raw
        pictures = state.pictures.get(self.name, [])
        if state.capture is not None or state.weights is None or not pictures:
            weights = torch.zeros(len(self.query), 0)
        else:
            weights = state.weights
        plain = zip(*raw, strict=True) if self.weights.frame is None else iter([None] * len(parts[0]))
        clips = zip(zip(*parts, strict=True), weights.split(state.frames), plain, strict=True)
        return torch.cat(
            [
                mixed(clip, pictures, rows, heads, alone, number not in state.blind)
                for number, (clip, rows, alone) in enumerate(clips)
            ]
        )

    def _with_positions(self, parts: list[Tensor]) -> list[Tensor]:
        state = self.state
        grid, channels = token_grid(parts[0].shape[2], state.size), parts[0].shape[-1]
        numbers = torch.arange(state.frames) if state.numbers is None else state.numbers
        places = (
            video_positions(grid, state.base, numbers, channels, parts[0].device)
            if state.capture is None
            else picture_positions(grid, state.base, channels, parts[0].device)
        )
        places = self._gain() * places.to(parts[0])
        return [part + places for part in parts]


def _clean(cleaner: nn.Module, unet: nn.Module, state: PromptState) -> list:
    """Hooks that add the watermark module's output to the features before the UNet's last norm."""
    time: list[Tensor] = []
    embedding = unet.time_embedding if hasattr(unet, "time_embedding") else unet.time_embed
    norm = unet.conv_norm_out if hasattr(unet, "conv_norm_out") else unet.out[0]

    def keep(_layer, _inputs, output):
        time[:] = [output]

    def add(_norm, inputs):
        if not state.active or state.capture is not None:
            return None
        x = inputs[0]
        return (x + cleaner(x, time.pop().to(x)), *inputs[1:])

    return [
        embedding.register_forward_hook(keep),
        norm.register_forward_pre_hook(add, prepend=True),  # before one that gathers a clip's frames
    ]
