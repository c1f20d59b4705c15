"""Fusion of a whole golden clip, against the truth and against what the reference reached on it."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from core.fusion.stream import Fusion, collect, fuse_clip, interpolate
from core.keyframes import Keyframes, keyframes_of_batch
from core.metrics.motion import flow_rating
from core.metrics.quality import psnr
from core.optical_flow import farneback_flow

from .finding import Finding, reached

GOALS = {"seqA": (32.2, 31.3)}  # dB at window 4 with a clean guide, and without a guide
SELF_LOSS = 0.83  # dB that a clip matched by itself may stay behind the reference with a clean guide
FLOW = 0.1  # of the truth's mean flow


@lru_cache(maxsize=2)
def read_clip(path: Path) -> dict[str, torch.Tensor]:
    """The clips of a file, (F, H, W, 3) in 0..1, by name; only arrays of that shape."""
    data = np.load(path)
    return {key: torch.from_numpy(data[key]).float() / 255 for key in data.files if data[key].ndim == 4}


def beside(path: Path, part: str) -> Path:
    """The file of the same clip with another part: seqA_balanced.npz -> seqA_inputs.npz."""
    return path.with_name(f"{clip_name(path)}_{part}.npz")


def clip_name(path: Path) -> str:
    """First part of a file's name: seqA of seqA_fast_accurate.npz."""
    return path.name.split("_")[0]


def decibel(frames: torch.Tensor, truth: torch.Tensor, of: list[int] | None = None) -> float:
    """Mean PSNR of a clip rounded to 8 bits, over some of its frames."""
    found = psnr((frames.clamp(0, 1) * 255).round().to(torch.uint8), (truth * 255).round().to(torch.uint8))
    return float((found if of is None else found[of]).mean())


@lru_cache(maxsize=8)
def fused(path: Path, window: int, guided: bool) -> torch.Tensor:
    """The flickering clip of an inputs file, fused by us."""
    clip = read_clip(path)
    return fuse_clip(clip["style"], Fusion(window=window), guides=clip["guide"] if guided else None)


def check_clip(path: Path) -> Iterator[Finding]:
    """Fused with and without the clean guide at window 4: PSNR, flow; and with keyframes, bit-exact."""
    clip, reference = read_clip(path), beside(path, "balanced")
    theirs = decibel(read_clip(reference)["w4_intended"], clip["truth"]) if reference.exists() else 0.0
    clean, alone = GOALS.get(clip_name(path), (theirs, theirs - SELF_LOSS))
    truth = flow_rating(farneback_flow(clip["truth"])).mean_px
    for name, guided, least in (("clean guide", True, clean), ("self-guided", False, alone)):
        ours = fused(path, 4, guided)
        yield reached(f"{name}, window 4, PSNR", decibel(ours, clip["truth"]), least, unit=" dB")
        rating = flow_rating(farneback_flow(ours)).mean_px
        bounds = (1 - FLOW) * truth, (1 + FLOW) * truth
        yield reached(f"{name}, window 4, mean flow", rating, *bounds, unit=" px")
    keyframes = read_keyframes(path, clip["truth"])
    ours = fuse_clip(clip["style"], Fusion(), keyframes=keyframes)
    yield from keyframes_kept(ours, keyframes, "window and keyframes")
    others = between(keyframes, len(ours))
    gained = decibel(ours, clip["truth"], others) - decibel(fused(path, 4, False), clip["truth"], others)
    yield reached("what keyframes add to the other frames", gained, 0.0, unit=" dB")


def read_keyframes(path: Path, images: torch.Tensor) -> Keyframes:
    """Frames of a clip as keyframes at the places that a file lists."""
    places = [int(place) for place in np.load(path)["keyframes"]]
    return keyframes_of_batch(images[places], places)


def between(keyframes: Keyframes, frames: int) -> list[int]:
    """The frames that are no keyframes."""
    return [frame for frame in range(frames) if frame not in keyframes.frames]


def keyframes_kept(ours: torch.Tensor, keyframes: Keyframes, name: str) -> Iterator[Finding]:
    """Whether the keyframes came out bit for bit."""
    kept = sum(torch.equal(ours[item.frame], item.image) for item in keyframes.items)
    yield reached(f"{name}: keyframes bit-exact", kept, len(keyframes.items))


def check_balanced(path: Path) -> Iterator[Finding]:
    """At least the reference's PSNR at the same window, as it meant it and as it shipped."""
    clips, source = read_clip(path), beside(path, "inputs")
    truth = read_clip(source)["truth"]
    for name, theirs in clips.items():
        ours = fused(source, int(name[1 : name.index("_")]), True)
        yield reached(f"clean guide against {name}", decibel(ours, truth), decibel(theirs, truth), unit=" dB")


def check_fast_accurate(path: Path) -> Iterator[Finding]:
    """At least the PSNR of the reference's other modes at the same window."""
    clips, source = read_clip(path), beside(path, "inputs")
    truth = read_clip(source)["truth"]
    for name, theirs in clips.items():
        window = int(name.split("_")[1][1:])
        ours = fused(source, window, True)
        yield reached(f"clean guide against {name}", decibel(ours, truth), decibel(theirs, truth), unit=" dB")


def check_interpolation(path: Path) -> Iterator[Finding]:
    """Frames between keyframes at least as close to the truth as the reference's; keyframes bit-exact."""
    clips, inputs = read_clip(path), read_clip(beside(path, "inputs"))
    for name, images in (("interp_cleankeys", inputs["truth"]), ("interp_flickerkeys", inputs["style"])):
        keyframes = read_keyframes(path, images)
        ours = collect(interpolate(inputs["guide"], keyframes), len(inputs["guide"]))
        frames = between(keyframes, len(ours))
        least = decibel(clips[name], inputs["truth"], frames)
        yield reached(f"{name}, other frames", decibel(ours, inputs["truth"], frames), least, unit=" dB")
        yield from keyframes_kept(ours, keyframes, name)
