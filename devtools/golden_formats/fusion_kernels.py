"""Kernels of patch matching (errors, votes, exact nearest patches), and the arithmetic of windows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from core.fusion.attention import positions, vote
from core.fusion.exact import nearest_patches, pair_error, patch_error
from core.fusion.stream import window_around
from core.keyframes import neighbours

from .finding import Finding, relative

EXACT = 1e-6  # votes are float32 there and here; errors are whole numbers and come out equal


def as_planes(pictures: np.ndarray) -> torch.Tensor:
    """(P, H, W, C) -> (P, C, H, W) float64."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).movedim(-1, 1).double()


def as_flow(places: np.ndarray) -> torch.Tensor:
    """(row, column) of the source pixel of each target pixel, (P, H, W, 2) -> flow (P, 2, H, W), dx first."""
    there = torch.from_numpy(np.ascontiguousarray(places)).long().flip(-1).movedim(-1, 1)
    return there - positions(*there.shape[-2:], there.device)


def check_kernels(path: Path) -> Iterator[Finding]:
    """Patch errors, votes and pairwise errors of the matches in the file, and its exhaustive search."""
    data = np.load(path)
    source, target = as_planes(data["source"]), as_planes(data["target"])
    for key in data.files:
        made = re.fullmatch(r"(patch_error|remap|pairwise_error)_(\w+)_p(\d+)", key)
        if not made:
            continue
        kind, patch = made[1], int(made[3])
        flow = as_flow(data[f"nnf_{made[2]}"])
        if kind == "patch_error":
            ours = patch_error(target, source, flow, patch)
        elif kind == "remap":
            ours = vote(source.float(), flow, patch).movedim(1, -1)
        else:
            ours = pair_error(source[:1], flow[:1], source[1:], flow[1:], patch)
        yield Finding(key, relative(ours, data[key]), EXACT if kind == "remap" else 0.0)
    for key in data.files:
        exact = re.fullmatch(r"bf_error_p(\d+)", key)
        if exact:
            target, source = as_planes(data["bf_target"][None]), as_planes(data["bf_source"][None])
            flow, error = nearest_patches(target, source, int(exact[1]))
            yield Finding(key, relative(error[0], data[key]), 0.0)
            theirs = patch_error(target, source, as_flow(data[f"bf_nnf_p{exact[1]}"][None]), int(exact[1]))
            ours = patch_error(target, source, flow, int(exact[1]))
            yield Finding(f"bf_nnf_p{exact[1]}", relative(ours, theirs), 0.0)


def check_schedule(path: Path) -> Iterator[Finding]:
    """Pairs of a clip at a window, and the shares of two keyframes between them."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for count in content["counts"]:
        frames, window = count["n"], count["window"]
        pairs = sum(len(window_around(i, window, (0, frames))) for i in range(frames))
        yield Finding(
            f"pairs of {frames} frames, window {window}", float(pairs != count["balanced_pairs"]), 0.0
        )
    for key, rows in content.items():
        places = re.fullmatch(r"interp_weights_l(\d+)_r(\d+)", key)
        if places:
            left, right = int(places[1]), int(places[2])
            found = neighbours((left, right), right + 1).share.tolist()
            ours = [[frame, 1 - found[frame], found[frame]] for frame, *_ in rows]
            yield Finding(key, relative(ours, rows), EXACT)
