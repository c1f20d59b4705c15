"""Image Conductor's flow maps: drawn tracks, sampled, as sparse motion, spread by the Gaussian."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from core.trajectory.flow_map import flow_map, spread
from core.trajectory.sample import Sampled, sample
from core.trajectory.track import Point, Track, Trajectories

from .finding import Finding, relative

EXACT = 1e-6
CROP = "flow_crop32_frames_"
STRIDE = "flow_stride"


def check_flow_map(path: Path) -> Iterator[Finding]:
    """Interpolated tracks, sparse motion, and what the file keeps of the flow map."""
    data = load_file(path)
    frames, height, width = data["meta_L_H_W"].tolist()
    sampled = sample(golden_trajectories(data, width, height), frames, (width, height))
    flow = flow_map(sampled).flow
    yield Finding("interpolated", relative(sampled.paths, data["interpolated"]), EXACT)
    yield Finding("sparse_dxdy", relative(sparse_motion(sampled, data), data["sparse_dxdy"]), EXACT)
    yield Finding("frame_sum_dxdy", relative(flow.double().sum((2, 3)), data["frame_sum_dxdy"]), EXACT)
    yield Finding("frame_absmax", relative(flow.abs().amax((1, 2, 3)), data["frame_absmax"]), EXACT)
    row = spread(201, 10.0)[100, 51:150]  # far from both borders
    yield Finding("kernel_row49", relative(row * row[49], data["kernel_row49"]), EXACT)
    for name, reference in data.items():
        if name.startswith(STRIDE):
            step = int(name[len(STRIDE) :])
            yield Finding(name, relative(flow[:, :, ::step, ::step].transpose(0, 1), reference), EXACT)
        elif name.startswith(CROP):
            kept = [int(frame) for frame in name[len(CROP) :].split("_")]
            y, x = data["crop_origin_yx"].tolist()
            crop = flow[kept, :, y : y + 32, x : x + 32]
            yield Finding(name, relative(crop.transpose(0, 1), reference), EXACT)


def golden_trajectories(data: dict[str, Tensor], width: int, height: int) -> Trajectories:
    """The drawn tracks; the published code gives a track of one point a second one, a pixel further."""
    tracks = []
    for points, count in zip(data["points"].tolist(), data["point_counts"].tolist(), strict=True):
        points = points[:count] if count > 1 else [points[0], [value + 1 for value in points[0]]]
        tracks.append(Track(tuple(Point(x / width, y / height) for x, y in points)))
    return Trajectories(tuple(tracks))


def sparse_motion(sampled: Sampled, data: dict[str, Tensor]) -> Tensor:
    """Our motion at the golden cells (frame, y, x): of the last track that is there; NaN where none is."""
    cells = sampled.paths[:, :-1].floor().long()
    limit = torch.tensor(sampled.size) - 1
    cells = torch.minimum(cells.clamp(min=0), limit)
    steps, found = sampled.paths.diff(dim=1), []
    for frame, y, x in data["sparse_index_fyx"].tolist():
        there = (cells[:, frame] == torch.tensor((x, y))).all(-1).nonzero().flatten().tolist()
        found.append(steps[there[-1], frame] if there else torch.full((2,), float("nan")))
    return torch.stack(found)
