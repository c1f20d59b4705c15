"""Control sequences for a whole clip at once: the maps of its frames, as a batch.

The maps are (F, H, W, 3) in 0..1, made from a source clip by any preprocessor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..fusion.cuts import find_cuts, scene_of
from ..fusion.stream import Fusion, collect, fuse
from .flow import ClipFlow, warp_one
from .maps import mix

PER_FRAME, PREVIOUS, INTERPOLATED = "per frame", "previous frame", "interpolated"
KEYFRAMES, ALONG_FLOW = "between keyframes", "along flow"
SEQUENCES = (PER_FRAME, PREVIOUS, INTERPOLATED, KEYFRAMES, ALONG_FLOW)


def control_sequence(
    maps: Tensor,
    mode: str,
    spacing: int = 4,
    images: Tensor | None = None,
    report: Callable[..., None] | None = None,
) -> Tensor:
    """The maps that steer each frame, (F, H, W, 3), from the source's own maps.

    per frame: each its own (M1). previous frame: the one before (M2). interpolated: the one before mixed with
    its own, t = f / (F - 1) over the whole clip (M3). between keyframes: only every `spacing`-th map is used,
    others are mixed of the two around with a t of their own. along flow: the same, but both are first moved
    to where `images`, the source clip, has things at that frame: lines stay single. report(done, total) may
    raise to stop.

    Raises ValueError for an unknown mode, or "along flow" without a clip of the maps' length and size.
    """
    if mode not in SEQUENCES:
        raise ValueError(f"Control sequence is '{mode}', expected one of {', '.join(SEQUENCES)}.")
    if mode == PER_FRAME:
        return maps
    if mode == PREVIOUS:
        return maps[[max(f - 1, 0) for f in range(len(maps))]]
    if mode == INTERPOLATED:
        last = max(len(maps) - 1, 1)
        return torch.stack([mix(maps[max(f - 1, 0)], maps[f], f / last) for f in range(len(maps))])
    if spacing < 1:
        raise ValueError(f"Keyframe spacing is {spacing}, expected 1 or more frames.")
    places = sorted({*range(0, len(maps), spacing), len(maps) - 1})
    if mode == KEYFRAMES:
        return interpolate_maps(maps[places], places, len(maps))
    if images is None:
        raise ValueError("Control along flow needs the source clip's images; connect 'images'.")
    return interpolate_maps(maps[places], places, len(maps), images, report)


def interpolate_maps(
    maps: Tensor,
    places: Sequence[int],
    frames: int,
    images: Tensor | None = None,
    report: Callable[..., None] | None = None,
) -> Tensor:
    """Maps at some frames -> a map for every frame, (frames, H, W, 3); given ones come out as they are.

    maps: (K, H, W, 3) in 0..1, at the rising frame numbers `places`; before the first and after the last,
    that map. images: the source clip (frames, H, W, 3); with it maps are moved along its flow, without it
    they are mixed where they are, as OpenCV's addWeighted does. report(done, total) may raise to stop.
    """
    _check_places(maps, places, frames)
    if images is not None:
        return _moved(maps, places, _clip_flow(maps, images, frames, report), report)
    made = []
    for frame in range(frames):
        before = max((k for k, at in enumerate(places) if at <= frame), default=0)
        after = min((k for k, at in enumerate(places) if at >= frame), default=len(places) - 1)
        first, last = places[before], places[after]
        t = (frame - first) / (last - first) if last > first else 0.0
        made.append(mix(maps[before], maps[after], t) if t else maps[before])
    return torch.stack(made)


def _check_places(maps: Tensor, places: Sequence[int], frames: int) -> None:
    if len(maps) != len(places) or not len(maps):
        raise ValueError(f"There are {len(maps)} maps for {len(places)} frame numbers; expected as many.")
    if list(places) != sorted(set(places)) or places[0] < 0 or places[-1] >= frames:
        raise ValueError(
            f"Maps are at frames {list(places)}, expected rising numbers from 0 to {frames - 1}."
        )


def _clip_flow(maps: Tensor, images: Tensor, frames: int, report) -> ClipFlow:
    if len(images) != frames or images.shape[1:3] != maps.shape[1:3]:
        raise ValueError(
            f"The source clip is {len(images)} frames of {images.shape[2]}x{images.shape[1]}, the maps need "
            f"{frames} of {maps.shape[2]}x{maps.shape[1]}; use 'Upscale Image' first."
        )
    return ClipFlow(images, report)


def _moved(maps: Tensor, places: Sequence[int], flow: ClipFlow, report) -> Tensor:
    """The maps around each frame moved to it and mixed; where only one of them can be followed, that one."""
    total = maps.new_zeros(flow.count, *maps.shape[1:])
    weight = maps.new_zeros(*total.shape[:3], 1)
    ways = list(_ways(places, flow.count))
    done, count = 0, sum(len(way) for _, way in ways)
    for k, way in ways:
        for step, (frame, there, known) in enumerate(flow.away(places[k], way), 1):
            between = frame > places[0] and frame < places[-1]
            share = 1 - step / (len(way) + 1) if between else 1.0
            trust = known.float().clamp_min(1e-3)[..., None] * share
            total[frame] += trust * warp_one(maps[k], there)
            weight[frame] += trust
            done += 1
            if report is not None:
                report(done, count)
    total[list(places)], weight[list(places)] = maps, 1.0
    return total / weight


def _ways(places: Sequence[int], frames: int) -> Iterator[tuple[int, range]]:
    """Each map's number with the frames that it is moved to, away from its own: those after, those before."""
    for k, place in enumerate(places):
        end = places[k + 1] if k + 1 < len(places) else frames
        start = places[k - 1] if k else -1
        yield k, range(place + 1, end)
        yield k, range(place - 1, start, -1)


def steady_levels(maps: Tensor, window: int, cuts: Sequence[int] = ()) -> Tensor:
    """Maps whose mean and contrast change as slowly as their averages over `window` frames on each side.

    Estimated depth jumps in scale and offset from frame to frame; this takes the jumps out. Frames from
    `cuts` on begin a scene of their own.
    """
    deviation, mean = torch.std_mean(maps, dim=(1, 2, 3), correction=0)
    levels, count = torch.stack((deviation, mean)), len(maps)
    smooth = [_around(levels, f, window, scene_of(f, cuts, count)) for f in range(count)]
    smooth = torch.stack(smooth, 1)
    gain = smooth[0] / deviation.clamp_min(1e-6)
    shifted = (maps - mean.view(-1, 1, 1, 1)) * gain.view(-1, 1, 1, 1) + smooth[1].view(-1, 1, 1, 1)
    return shifted.clamp(0, 1)


def _around(values: Tensor, frame: int, window: int, scene: tuple[int, int]) -> Tensor:
    return values[:, max(scene[0], frame - window) : min(scene[1], frame + window + 1)].mean(dim=1)


def stabilise_maps(
    maps: Tensor, images: Tensor | None, settings: Fusion, level: bool, device=None, report=None
) -> Tensor:
    """Maps (F, H, W, 3) averaged over time along the motion of `images`, the clip that they were made from.

    level: first take out jumps of brightness and contrast (see `steady_levels`). Without images the maps are
    matched with each other. Nothing is averaged over a cut where `settings` has clips split. Raises
    ValueError as `core.fusion.stream.fuse`.
    """
    if level and len(maps) > 1:
        cuts = find_cuts(maps if images is None else images, report) if settings.split else ()
        maps = steady_levels(maps, settings.window, cuts)
    return collect(fuse(maps, settings, images, None, device, report), len(maps))
