"""A motion model: one temporal transformer for each site of a UNet, in the order the UNet runs them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .transformer import TemporalTransformer


@dataclass(frozen=True)
class MotionConfig:
    """What shapes and steers a motion model.

    `channels` is the width of each UNet level from the outside in, `layers_per_block` the ResBlocks of a down
    block (an up block has one more), `attentions` the temporal attentions of a module. `shared_norm` says
    that the UNet's own norms were trained with statistics over frames (AnimateDiff v1); `clip_norm` says so
    of the modules' norms (diffusers).
    """

    channels: tuple[int, ...]
    layers_per_block: int = 2
    attentions: int = 2
    mid_block: bool = False
    max_frames: int = 32
    heads: int = 8
    norm_groups: int = 32
    beta_schedule: str = "linear"
    shared_norm: bool = False
    name: str = ""
    clip_norm: bool = False

    def sites(self) -> tuple[tuple[str, int], ...]:
        """(name, width) of each site, in the order down, mid, up; names as in AnimateDiff's files."""
        levels, layers = len(self.channels), self.layers_per_block
        down = [
            (f"down_blocks.{i}.motion_modules.{j}", self.channels[i])
            for i in range(levels)
            for j in range(layers)
        ]
        mid = [("mid_block.motion_modules.0", self.channels[-1])] if self.mid_block else []
        up = [
            (f"up_blocks.{i}.motion_modules.{j}", self.channels[levels - 1 - i])
            for i in range(levels)
            for j in range(layers + 1)
        ]
        return (*down, *mid, *up)


class MotionModel(nn.Module):
    """The temporal transformers of a motion module file; `sites` lists them in site order (down, mid, up)."""

    def __init__(self, config: MotionConfig, ops=nn, device=None, dtype=None):
        """Make all modules from `ops`; a fresh model changes nothing, since every proj_out is zero."""
        super().__init__()
        self.config = config
        self.sites = nn.ModuleList(
            TemporalTransformer(
                width,
                attentions=config.attentions,
                heads=config.heads,
                max_frames=config.max_frames,
                norm_groups=config.norm_groups,
                ops=ops,
                device=device,
                dtype=dtype,
                clip_norm=config.clip_norm,
            )
            for _, width in config.sites()
        )
