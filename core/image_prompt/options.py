"""How pictures act in image attention: how strongly, when, in which layers, in which frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..prompts.schedule import Key, check_range, key_weights, values_at

ALL, SPREAD = "all frames", "spread"
PLACEMENTS = (ALL, SPREAD)
FACTORS = (1, 2, 4, 8)  # how much smaller than the latents the layers of Stable Diffusion 1.5 are
REPLACED = "trained keys and values replace the model's, and what LoRAs changed in these"


@dataclass(frozen=True)
class AttentionOptions:
    """How pictures act.

    strength: 0 not at all, 1 as trained. It acts from start_percent to end_percent of sampling, in layers
    whose grid is `factors` times smaller than the latents. placement: every picture in all frames, or spread
    over the clip, one fading into the next. schedules: values at frames that multiply the strength, one for
    all pictures or one each. positions: added to the trained gains. published: as the published code does in
    details that need not be so. Raises ValueError.
    """

    strength: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    factors: tuple[int, ...] = FACTORS
    placement: str = ALL
    schedules: tuple[tuple[Key, ...], ...] = ()
    positions: float = 0.0
    seed: int = 0
    published: bool = False

    def __post_init__(self):
        """Check the values."""
        if self.end_percent <= self.start_percent:
            raise ValueError(
                f"end_percent is {self.end_percent:g}, "
                f"it must be larger than start_percent, {self.start_percent:g}"
            )
        if self.strength < 0:
            raise ValueError(f"strength is {self.strength:g}, expected 0 or more")

    def weights(self, pictures: int, frames: int) -> Tensor:
        """How much each frame of a clip sees of each picture: (frames, pictures)."""
        if len(self.schedules) not in (0, 1, pictures):
            raise ValueError(
                f"There are {len(self.schedules)} weight schedules for {pictures} pictures; give one line "
                "each, or one for all"
            )
        weights = torch.ones(frames, pictures)
        if self.placement == SPREAD and pictures > 1:
            keys = [Key(round(i * (frames - 1) / (pictures - 1)), "") for i in range(pictures)]
            if len({key.frame for key in keys}) < pictures:
                raise ValueError(f"{pictures} pictures cannot be spread over {frames} frames")
            weights = key_weights(keys, range(frames))
        for number, keys in enumerate(self.schedules):
            check_range(keys, frames, "weights")
            row = slice(None) if len(self.schedules) == 1 else slice(number, number + 1)
            weights[:, row] *= values_at(keys, range(frames))[:, None]
        if weights.min() < 0:
            raise ValueError(
                "A weight schedule has a value below 0; a picture cannot be seen less than not at all"
            )
        return weights * self.strength

    def report(self, pictures: int, trained: bool, replaces: bool = False) -> str:
        """What the pictures are used for, in words; whether trained keys and values replace the model's."""
        return self._used(pictures, trained) + (f"; {REPLACED}" if replaces else "")

    def _used(self, pictures: int, trained: bool) -> str:
        weights = "trained weights" if trained else "the model's own weights"
        if not pictures or not self.strength:
            return f"no picture is looked at; {weights} are applied"
        span = f"from {self.start_percent:g} to {self.end_percent:g} of sampling"
        layers = ", ".join(map(str, self.factors))
        return (
            f"{pictures} picture{'s' * (pictures > 1)} in {self.placement} with {weights}, strength "
            f"{self.strength:g}, {span}, layers {layers}"
        )


def parse_factors(text: str) -> tuple[int, ...]:
    """Layers such as "1, 2, 4, 8"; raises ValueError that shows a wrong entry."""
    words = text.replace(",", " ").split()
    wrong = next((word for word in words if word not in map(str, FACTORS)), None)
    if wrong is not None or not words:
        raise ValueError(f"layers is '{text.strip()}', expected some of 1, 2, 4, 8")
    return tuple(sorted({int(word) for word in words}))
