"""Frame by frame: every frame is sampled by itself, steered by the source clip or by the frame before it.

    M1 per frame       maps of source frame f
    M2 previous frame  maps of the frame made before: no motion by construction
    M3 interpolated    maps of the frame made before mixed with the source's, t = f / (F - 1)
    M4 content         content of the frame made before, blended with it along its flow

from "Investigation of Methods to Improve Generative Video Consistency and Control", and a better one of M3
and M4 each. Sampling itself is a function that the caller gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..noise import SEED_RANGE
from ..optical_flow import check_dis, consistent
from .blend import FlowBlend, blend
from .flow import TOLERANCE, flow_pair, warp_one
from .maps import mix

PER_FRAME, PREVIOUS, INTERPOLATED, CONTENT = "per frame", "previous frame", "interpolated", "content and flow"
MOVED, GUIDED = "interpolated along flow", "maps, content and flow"
MODES = (PER_FRAME, PREVIOUS, INTERPOLATED, MOVED, CONTENT, GUIDED)
SEEDS = ("paper", "shared", "per frame")
Maps = Mapping[str, Tensor]  # kind of map -> maps


@dataclass(frozen=True)
class Request:
    """What one frame is sampled from: its seed, its maps (H, W, 3) by kind, and a picture as content."""

    frame: int
    seed: int
    maps: dict[str, Tensor]
    content: Tensor | None = None


@dataclass(frozen=True)
class Source:
    """The clip that steers: its maps by kind, (F, H, W, 3) each, and its images where flow is needed."""

    frames: int
    maps: Maps = field(default_factory=dict)
    images: Tensor | None = None

    def __post_init__(self):
        """Raise ValueError unless everything has as many frames."""
        for kind, clip in (*self.maps.items(), *(() if self.images is None else (("images", self.images),))):
            if len(clip) != self.frames:
                raise ValueError(f"The source's {kind} have {len(clip)} frames, expected {self.frames}.")


@dataclass(frozen=True)
class Loop:
    """How frames follow each other: `mode` of MODES, `seeds` of SEEDS, and `amount` of the flow blend.

    seeds: "paper" seed + f (f - 1) / 2 (frames 0 and 1 share one), "shared" the same for all, "per frame"
    seed + f.
    """

    mode: str
    seeds: str = "paper"
    amount: float = 0.5

    def __post_init__(self):
        """Raise ValueError for what does not exist."""
        for name, known in (("mode", MODES), ("seeds", SEEDS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"Frame loop {name} is '{getattr(self, name)}', expected one of {', '.join(known)}."
                )

    def seed(self, first: int, frame: int) -> int:
        """The seed of a frame."""
        away = {"paper": frame * (frame - 1) // 2, "shared": 0, "per frame": frame}[self.seeds]
        return (first + away) % SEED_RANGE


class FrameLoop:
    """The loop over the frames of one clip."""

    def __init__(
        self,
        loop: Loop,
        source: Source,
        sample: Callable[[Request], Tensor],
        estimators: Mapping[str, Callable[[Tensor], Tensor]],
    ):
        """Prepare a run.

        sample: makes a frame (H, W, 3) in 0..1. estimators: kind of map -> function from a frame to its map;
        a kind without one is taken from the map that the frame was made with.

        Raises:
            ValueError: the mode needs maps or images of the source that are not there, or larger ones.
        """
        needs_images = loop.mode in (MOVED, GUIDED)
        if loop.mode != CONTENT and not source.maps:
            raise ValueError(f"Mode '{loop.mode}' needs control maps of the source clip.")
        if needs_images and source.images is None:
            raise ValueError(f"Mode '{loop.mode}' needs the source clip's images for their flow.")
        if needs_images and source.frames > 1:
            check_dis(source.images)
        self.loop, self.source, self.sample, self.estimators = loop, source, sample, estimators
        self.used: dict[str, Tensor] = {}
        self.made: list[Tensor] = []

    def run(self, seed: int, first: Tensor | None = None, report: Callable | None = None) -> Tensor:
        """All frames (F, H, W, 3); `first`, where given, is frame 0 as it is (first-frame pinning).

        report(done, total, frame) is called after each frame, and may raise to stop.
        """
        for f in range(self.source.frames):
            request = Request(f, self.loop.seed(seed, f), self._maps(f), self._content(f))
            self.used = request.maps or {kind: clip[f] for kind, clip in self.source.maps.items()}
            if f == 0 and first is not None:
                self.made.append(first)
            else:
                self.made.append(self._blended(f, self.sample(request)))
            if report is not None:
                report(f + 1, self.source.frames, self.made[-1])
        return torch.stack(self.made)

    def _content(self, f: int) -> Tensor | None:
        return self.made[-1] if f and self.loop.mode in (CONTENT, GUIDED) else None

    def _maps(self, f: int) -> dict[str, Tensor]:
        """The maps that steer frame f."""
        own = {kind: clip[f] for kind, clip in self.source.maps.items()}
        if f == 0 or self.loop.mode in (PER_FRAME, GUIDED):
            return own
        if self.loop.mode == CONTENT:
            return {}
        before = {kind: self._previous(kind) for kind in own}
        if self.loop.mode == PREVIOUS:
            return before
        if self.loop.mode == MOVED:
            before = self._moved(f, before, own)
        t = f / (self.source.frames - 1)
        return {kind: mix(before[kind], own[kind], t) for kind in own}

    def _previous(self, kind: str) -> Tensor:
        estimate = self.estimators.get(kind)
        return self.used[kind] if estimate is None else estimate(self.made[-1])

    def _moved(self, f: int, before: Maps, own: Maps) -> dict[str, Tensor]:
        """Maps of the frame before, moved as the source moves; new things as the source has them."""
        there, back = flow_pair(self.source.images[f], self.source.images[f - 1], "dis")
        known = consistent(there[None], back[None], TOLERANCE)[0, ..., None]
        return {kind: torch.where(known, warp_one(before[kind], there), own[kind]) for kind in own}

    def _blended(self, f: int, frame: Tensor) -> Tensor:
        if not f or self.loop.mode not in (CONTENT, GUIDED):
            return frame
        if self.loop.mode == CONTENT:
            return blend(frame, self.made[-1], FlowBlend(self.loop.amount))
        guide = self.source.images[f], self.source.images[f - 1]
        return blend(frame, self.made[-1], FlowBlend(self.loop.amount, "dis"), guide)
