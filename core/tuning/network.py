"""What tuning on one clip changes in a UNet, by the transformer blocks where it does."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..image_prompt.network import Place, TemporalAttention


@dataclass(frozen=True)
class TuningConfig:
    """What a tuning holds.

    places: the UNet's transformer blocks. whole: the query weights are whole, as in published files, and not
    differences to the model's own. shared_norm: the UNet's norms take statistics over all frames of a clip.
    """

    places: tuple[Place, ...] = ()
    whole: bool = False
    shared_norm: bool = False
    name: str = ""


class PlaceTuning(nn.Module):
    """The weights of one block: queries of self- and cross-attention, and the attention over frames.

    A fresh one changes nothing: differences and the last layer of the attention over frames are zero.
    """

    def __init__(self, place: Place, ops=nn, device=None, dtype=None):
        """Make the layers from `ops`."""
        super().__init__()
        where, width = {"device": device, "dtype": dtype}, place.channels
        self.own = ops.Linear(width, width, bias=False, **where)
        self.text = ops.Linear(width, width, bias=False, **where)
        self.temporal = TemporalAttention(width, ops, **where)
        for weight in (self.own.weight, self.text.weight, self.temporal.out.weight, self.temporal.out.bias):
            nn.init.zeros_(weight)


class VideoTuning(nn.Module):
    """The weights of one tuning, a `PlaceTuning` for each place in order."""

    def __init__(self, config: TuningConfig, ops=nn, device=None, dtype=None):
        """Make all layers from `ops`."""
        super().__init__()
        self.config = config
        self.places = nn.ModuleList(PlaceTuning(place, ops, device, dtype) for place in config.places)

    def freeze_norms(self) -> None:
        """Leave to training what Tune-A-Video trains: queries and the attention over frames, not its norm."""
        for place in self.places:
            place.temporal.norm.requires_grad_(False)
