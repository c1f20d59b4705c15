"""Fuse a clip of any length: frames come and go in a window, and memory does not grow with the clip.

Each frame becomes the mean of itself, its neighbours and its keyframes, brought to where it has them (CCDM
Eq. 7, 11, 12: as printed, the weights w / (w + 1) and 1 / (w + 1) are those of a running mean).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from ..keyframes import Keyframes
from .attention import HARD, Attention, align
from .cuts import find_cuts, scene_of
from .guides import Pyramid, as_planes, normalise, plain, pyramid

PIXELS = 2**19  # how many target pixels are matched at once: bounds the memory of one step
LEAST = 1e-3  # of a weight or trust: where a frame has only keyframes, they count at least so much

Frames = Sequence[torch.Tensor]  # (H, W, C) by index: a tensor (F, H, W, C), or something that loads frames
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Fusion:
    """What is fused.

    window: frames before and after, 0 or more. strength: weight 0..1 of a neighbour; 0 leaves frames as they
    are. keyframe_weight: of the two keyframes around a frame together, against 1 of the frame itself.
    style_weight: with a guide, how much the frames' own likeness counts in matching beside the guide's.
    split: whether cuts end the window. attention: how patches are matched.
    """

    window: int = 4
    strength: float = 1.0
    keyframe_weight: float = 1.0
    style_weight: float = 0.1
    split: bool = True
    attention: Attention = HARD

    def __post_init__(self):
        """Raise ValueError for what cannot be."""
        if self.window < 0:
            raise ValueError(f"Fusion window is {self.window}, expected 0 or more frames on each side.")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"Fusion strength is {self.strength:g}, expected 0 to 1.")
        for name in ("keyframe_weight", "style_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"Fusion {name} is {getattr(self, name):g}, expected 0 or more.")


DEFAULT = Fusion()


@dataclass(frozen=True)
class _View:
    """One frame as a source or target: its picture (1, C, H, W) and its guides."""

    picture: torch.Tensor | None
    guide: Pyramid


class _Shelf:
    """The views that are needed now, made when first asked for."""

    def __init__(
        self, frames: Frames | None, guides: Frames | None, keyframes: Keyframes, style_weight: float, device
    ):
        self.frames, self.guides, self.style_weight, self.device = frames, guides, style_weight, device
        self.keys = {item.frame: item.image for item in keyframes.items}
        self.views: dict[int, _View] = {}

    def take(self, frame: int) -> _View:
        """The view of one frame; a keyframe's picture is its own image."""
        if frame not in self.views:
            own = None if self.frames is None else self._planes(self.frames[frame])
            key = self.keys.get(frame)
            picture = own if key is None else self._planes(key)
            self.views[frame] = _View(picture, pyramid(self._guide(frame, own)))
        return self.views[frame]

    def keep(self, frames: set[int]) -> None:
        """Drop all other views."""
        self.views = {frame: view for frame, view in self.views.items() if frame in frames}

    def _guide(self, frame: int, own: torch.Tensor | None) -> torch.Tensor:
        """What a frame is matched by, (1, C, H, W): its guide, its own normalised picture, or both."""
        if self.guides is None:
            return normalise(own)
        guide = plain(self._planes(self.guides[frame]))
        if own is None or self.style_weight == 0:
            return guide
        return torch.cat((guide, self.style_weight**0.5 * normalise(own)), dim=1)

    def _planes(self, image: torch.Tensor) -> torch.Tensor:
        return as_planes(image[None].to(self.device))


def fuse(
    frames: Frames,
    settings: Fusion = DEFAULT,
    guides: Frames | None = None,
    keyframes: Keyframes | None = None,
    device: torch.device | str | None = None,
    report: Report | None = None,
) -> Iterator[torch.Tensor]:
    """The fused frames of a clip, one after another, each (H, W, C) float32 in 0..1 on the CPU.

    frames: (F, H, W, C) in 0..1, C = 1, 3 or 4 (alpha is fused along). guides: as many clean frames of the
    same size to match by; without them each frame, normalised, is its own guide. keyframes: their frames come
    out bit for bit as given, and the frames between two of them are drawn to both. device: where to compute.
    report(done, total): called after each frame, may raise to stop.

    Raises:
        ValueError: guides or keyframes do not fit the clip; before any work.
    """
    height, width, _ = _check_frames("The clip", frames)
    if guides is not None:
        _check_guides(guides, len(frames), (height, width))
    placed = Keyframes() if keyframes is None else keyframes.placed(len(frames), (width, height))
    if placed.items and frames[0].shape[-1] != 3:
        raise ValueError(
            f"The clip has {frames[0].shape[-1]} channels, keyframe images have 3; "
            "use 'Split Image with Alpha' on the clip first."
        )
    shelf = _Shelf(frames, guides, placed, settings.style_weight, device)
    return _Fuser(settings, shelf, placed, len(frames), report).run()


def interpolate(
    guides: Frames,
    keyframes: Keyframes,
    settings: Fusion = DEFAULT,
    device: torch.device | str | None = None,
    report: Report | None = None,
) -> Iterator[torch.Tensor]:
    """Frames made from keyframes alone, moved as the guides move; one after another, (H, W, 3) in 0..1.

    guides: (F, H, W, C) in 0..1, one for each frame of the result, of the keyframes' size. Between two
    keyframes both count linearly, each where it fits; before the first and after the last, that one. Window
    and strengths of `settings` are not used; cuts are not looked for. The rest is as in `fuse`.
    """
    height, width, _ = _check_frames("The guide", guides)
    placed = keyframes.placed(len(guides), (width, height))
    placed = Keyframes(tuple(replace(item, strength=max(item.strength, LEAST)) for item in placed.items))
    settings = Fusion(window=0, keyframe_weight=1.0, split=False, attention=settings.attention)
    return _Fuser(settings, _Shelf(None, guides, placed, 0.0, device), placed, len(guides), report).run()


def fuse_clip(frames: torch.Tensor, *args, **named) -> torch.Tensor:
    """All frames of `fuse` as one tensor (F, H, W, C); the same arguments."""
    return collect(fuse(frames, *args, **named), len(frames))


def collect(frames: Iterator[torch.Tensor], count: int) -> torch.Tensor:
    """Frames that come one after another as one tensor (count, H, W, C)."""
    first = next(frames)
    clip = first.new_empty(count, *first.shape)
    clip[0] = first
    for i, frame in enumerate(frames, 1):
        clip[i] = frame
    return clip


class _Fuser:
    """One pass over a clip."""

    def __init__(self, settings: Fusion, shelf: _Shelf, keyframes: Keyframes, count: int, report):
        self.settings, self.shelf, self.keyframes, self.count = settings, shelf, keyframes, count
        self.report = report
        self.own = 0.0 if shelf.frames is None else 1.0
        self.passes = 2 if settings.split and count > 1 else 1

    def run(self) -> Iterator[torch.Tensor]:
        """Find the cuts, then give frame after frame."""
        cuts = ()
        if self.passes == 2:
            watched = self.shelf.guides if self.shelf.guides is not None else self.shelf.frames
            cuts = find_cuts(watched, self._progress(0))
        tell = self._progress(self.passes - 1)
        for frame in range(self.count):
            if frame in self.shelf.keys:
                fused = self.shelf.keys[frame].detach().cpu().float().clone()
            else:
                fused = self.fuse(frame, self.weights(frame, scene_of(frame, cuts, self.count)))
            yield fused
            if tell is not None:
                tell(frame + 1, self.count)

    def _progress(self, number: int) -> Report | None:
        """Progress of one of the passes, as progress of the whole."""
        total = self.passes * self.count
        return self.report and (lambda done, _: self.report(number * self.count + done, total))

    def weights(self, frame: int, scene: tuple[int, int]) -> dict[int, float]:
        """The frames that one is fused with, and their weights: neighbours, and the keyframes around it."""
        near = window_around(frame, self.settings.window, scene)
        weights = dict.fromkeys(near, self.settings.strength)
        for key, share in around(frame, self.keyframes, scene).items():
            weights[key] = weights.get(key, 0.0) + self.settings.keyframe_weight * share
        return {other: weight for other, weight in weights.items() if weight > 0}

    def fuse(self, frame: int, weights: dict[int, float]) -> torch.Tensor:
        """One frame, (H, W, C): the weighted mean of it and its sources, each counted where it fits."""
        self.shelf.keep({frame, *weights})
        target = self.shelf.take(frame)
        total, mass = 0.0, self.own
        if self.own:
            total = self.own * target.picture
        others = list(weights)
        height, width = target.guide[-1].shape[-2:]
        step = max(1, PIXELS // (height * width))
        for i in range(0, len(others), step):
            part = others[i : i + step]
            sources = [self.shelf.take(other) for other in part]
            moved, trust = align(
                torch.cat([source.picture for source in sources]),
                [level.expand(len(part), -1, -1, -1) for level in target.guide],
                [torch.cat(levels) for levels in zip(*(source.guide for source in sources), strict=True)],
                self.settings.attention,
            )
            if not self.own:
                trust = trust.clamp_min(LEAST)
            given = torch.tensor([weights[other] for other in part], device=trust.device)
            factor = trust * given.view(-1, 1, 1, 1)
            total = total + (factor * moved).sum(dim=0, keepdim=True)
            mass = mass + factor.sum(dim=0, keepdim=True)
        return (total / mass)[0].movedim(0, -1).contiguous().cpu()


def window_around(frame: int, reach: int, scene: tuple[int, int]) -> list[int]:
    """The neighbours of a frame, `reach` before and after, that lie in its scene (first, first after it)."""
    start, stop = scene
    near = range(max(start, frame - reach), min(stop, frame + reach + 1))
    return [other for other in near if other != frame]


def around(frame: int, keyframes: Keyframes, scene: tuple[int, int]) -> dict[int, float]:
    """The keyframes left and right of a frame within its scene, and their shares: linear, times strength.

    Where there is only one of them, all of it.
    """
    items = [item for item in keyframes.items if scene[0] <= item.frame < scene[1]]
    left = max((item for item in items if item.frame <= frame), key=lambda item: item.frame, default=None)
    right = min((item for item in items if item.frame > frame), key=lambda item: item.frame, default=None)
    if left is None or right is None:
        return {item.frame: item.strength for item in (left, right) if item is not None}
    share = (frame - left.frame) / (right.frame - left.frame)
    return {left.frame: (1 - share) * left.strength, right.frame: share * right.strength}


def _check_frames(what: str, frames: Frames) -> tuple[int, int, int]:
    """Height, width and channels of a clip; ValueError if it is none."""
    if len(frames) == 0:
        raise ValueError(f"{what} has no frames, expected at least 1.")
    shape = tuple(frames[0].shape)
    if len(shape) != 3 or shape[-1] not in (1, 3, 4) or 0 in shape:
        raise ValueError(f"{what} has frames of shape {shape}, expected (height, width, 1, 3 or 4 channels).")
    return shape


def _check_guides(guides: Frames, count: int, size: tuple[int, int]) -> None:
    """Raise ValueError unless there is a guide of that (height, width) for each frame."""
    height, width, _ = _check_frames("The guide", guides)
    if len(guides) != count:
        raise ValueError(f"The clip has {count} frames, the guide {len(guides)}; expected as many.")
    if (height, width) != size:
        raise ValueError(
            f"The guide is {width}x{height}, the clip {size[1]}x{size[0]}; use 'Upscale Image' first."
        )
