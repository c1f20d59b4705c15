"""What the flow net is trained on: clips with flow maps of their tracks, dense or sparse."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.scene import reversed_caption
from ..trajectory.flow_map import flow_map
from ..trajectory.sample import Sampled
from ..trajectory.track import Point, Track
from .control import Drawn, shown
from .diffusion import Batch, draw_places
from .flow_clips import TrackedLatents

MOST_TRACKS = 8  # of a sparse flow map
WITHOUT_IMAGE = 0.1  # share of the steps in which the image net is shown nothing
ANY_TRACK = Track((Point(0.0, 0.0),))  # flow maps ask a track for its weight, 1


class FlowSource:
    """Clips, each with the flow map of some of its tracks; half of the reversible ones are played backwards.

    dense: all tracks of the grid; else 1 to 8, drawn in proportion to how far each moves. With `image` the
    first frame is seen in every step, and shown to an image net in most.
    """

    def __init__(self, clips: TrackedLatents, dense: bool = False, image: bool = False):
        """Draw from `clips`."""
        self.clips, self.dense, self.image = clips, dense, image

    def draw(self, batch: Batch, generator: torch.Generator) -> Drawn:
        """Clips of a batch; their condition is (B, F, 2, H, W), for the frames that are seen."""
        run = batch.span or batch.frames
        if run > self.clips.clips.shape[1]:
            raise ValueError(
                f"The encoded clips have {self.clips.clips.shape[1]} frames, the recipe asks for {run}."
            )
        places = draw_places(batch, generator)
        if places is not None and self.image:
            places[0] = 0
        seen = list(range(run)) if places is None else places.tolist()
        drawn = [self._clip(run, generator) for _ in range(batch.clips)]
        latents = torch.stack([clip[seen] for clip, _, _ in drawn])
        flow = torch.stack([flow[seen] for _, _, flow in drawn])
        image = self._image(latents, generator) if self.image else None
        return Drawn(latents, [text for _, text, _ in drawn], flow, [[]] * batch.clips, places, image)

    def _clip(self, run: int, generator) -> tuple[Tensor, str, Tensor]:
        """Latents (run, 4, h, w), caption, and flow map (run, 2, H, W) of one clip."""
        data = self.clips
        pick = int(torch.randint(len(data.clips), (1,), generator=generator))
        start = int(torch.randint(data.clips.shape[1] - run + 1, (1,), generator=generator))
        part = slice(start, start + run)
        latents, text = data.clips[pick, part], data.captions[pick]
        tracks, visible = data.tracks[pick, :, part], data.visible[pick, :, part]
        if data.reversible[pick] and torch.rand(1, generator=generator) < 0.5:
            latents, tracks, visible = latents.flip(0), tracks.flip(1), visible.flip(1)
            text = reversed_caption(text)
        rows = torch.arange(len(tracks)) if self.dense else draw_tracks(tracks, visible, generator)
        sampled = Sampled(tracks[rows].double(), visible[rows], (ANY_TRACK,) * len(rows), data.size)
        return latents.float(), text, flow_map(sampled).flow

    def _image(self, latents: Tensor, generator) -> Tensor:
        hidden = torch.rand(len(latents), generator=generator) < WITHOUT_IMAGE
        return shown(latents, [[] if without else [0] for without in hidden.tolist()])


def draw_tracks(
    tracks: Tensor, visible: Tensor, generator: torch.Generator, most: int = MOST_TRACKS
) -> Tensor:
    """Numbers of 1 to `most` different tracks of (N, F, 2), in proportion to how far each moves while seen.

    visible: (N, F) bool. Where fewer move than are to be drawn, those that move; where none does, any.
    """
    way = tracks.diff(dim=1).norm(dim=-1) * (visible[:, 1:] & visible[:, :-1])
    chance = way.sum(1)
    chance = chance if chance.any() else torch.ones_like(chance)
    number = int(torch.randint(1, most + 1, (1,), generator=generator))
    return torch.multinomial(chance, min(number, int(chance.count_nonzero())), generator=generator)
