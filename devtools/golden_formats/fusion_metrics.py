"""Measures of the golden clips and of the reference's results: ours must give the same numbers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from core.metrics.motion import flow_rating
from core.metrics.quality import psnr, psnr_global
from core.metrics.steadiness import level_spread
from core.optical_flow import farneback_flow

from .finding import Finding, relative
from .fusion_clips import read_clip

PRINTED = 1e-3  # the file gives four decimals, and Farneback's flow changes a little between OpenCV's builds
PARTS = ("inputs", "balanced", "fast_accurate", "interp")


def check_metrics(path: Path) -> Iterator[Finding]:
    """PSNR, level and flow of each clip whose frames lie beside the file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for clip, rows in content.items():
        if not path.with_name(f"{clip}_inputs.npz").exists():
            continue
        truth = read_clip(path.with_name(f"{clip}_inputs.npz"))["truth"]
        for name, wanted in rows.items():
            frames = find_frames(path, clip, name)
            if frames is not None:
                yield from compare(f"{clip} {name}", measure(frames, truth), wanted)


def find_frames(path: Path, clip: str, name: str) -> torch.Tensor | None:
    """The frames that a row of measures is about, (F, H, W, 3) in 0..1; None where they are not stored."""
    unaligned = re.fullmatch(r"naive_mean_w(\d+)", name)
    if unaligned:
        return unaligned_mean(find_frames(path, clip, "style"), int(unaligned[1]))
    for part in PARTS:
        file = path.with_name(f"{clip}_{part}.npz")
        clips = read_clip(file) if file.exists() else {}
        for key in (name, name.removeprefix(f"{part}_")):
            if key in clips:
                return clips[key]
    return None


def unaligned_mean(frames: torch.Tensor, window: int) -> torch.Tensor:
    """Each frame averaged with its neighbours where they are."""
    means = [frames[max(0, i - window) : i + window + 1].mean(dim=0) for i in range(len(frames))]
    return torch.stack(means)


def measure(frames: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Our numbers under the file's names."""
    flow, near = flow_rating(farneback_flow(frames)), psnr(frames, truth)
    return {
        "psnr_mean": float(near.mean()),
        "psnr_min": float(near.min()),
        "psnr_global": psnr_global(frames, truth),
        "frame_mean_std": level_spread(frames),
        "flow_total_px": flow.total_px,
        "flow_mean_px": flow.mean_px,
        "flow_mean_over_diag_pct": flow.mean_over_diagonal,
        "flow_mean_over_max_pct": flow.mean_over_max,
    }


def compare(name: str, ours: dict[str, float], wanted: dict) -> Iterator[Finding]:
    """The measures that both have."""
    for key in ours.keys() & wanted.keys():
        yield Finding(f"{name} {key}", relative(ours[key], wanted[key]), PRINTED)
