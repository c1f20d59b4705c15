"""ObjMC and CamMC: how far what moves in a clip is from the tracks that asked for it (Image Conductor).

The mean Euclidean distance between the points followed in the clip and the tracks, in pixels of a stated
frame size: over tracks of role "object" it is called ObjMC, over those of role "camera" CamMC. A point that
was lost counts where it was seen last, so losing it is no way to a lower error.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..trajectory.sample import Sampled
from ..trajectory.track import ROLES

STATED = (384, 256)  # width, height that the paper reports at


@dataclass(frozen=True, eq=False)
class TrajectoryError:
    """Distances (N, F) in pixels of the stated size, of N tracks at F frames, and where it was seen."""

    distance: Tensor
    seen: Tensor  # (N, F) bool
    names: tuple[str, ...]
    roles: tuple[str, ...]

    def mean(self, role: str | None = None) -> float:
        """Mean over frames and tracks of a role (None = all); NaN where there is none."""
        rows = [i for i, own in enumerate(self.roles) if role in (None, own)]
        return float(self.distance[rows].mean()) if rows else math.nan

    @property
    def per_frame(self) -> dict[str, tuple[float, ...]]:
        """Mean of each role at each frame."""
        found = {}
        for role in ROLES:
            rows = [i for i, own in enumerate(self.roles) if own == role]
            found[role] = tuple(self.distance[rows].mean(0).tolist()) if rows else ()
        return found

    @property
    def lost(self) -> float:
        """Share of points and frames at which the point was not found."""
        return float((~self.seen).double().mean()) if self.seen.numel() else math.nan

    def as_json(self) -> str:
        """The numbers as indented JSON, null for what there is none of."""
        report = {
            "ObjMC": _number(self.mean("object")),
            "CamMC": _number(self.mean("camera")),
            "lost": _number(self.lost),
            "tracks": [
                {"name": name, "role": role, "mean_px": _number(float(row.mean()))}
                for name, role, row in zip(self.names, self.roles, self.distance, strict=True)
            ],
        }
        return json.dumps(report, indent=1)


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def trajectory_error(
    followed: Tensor, seen: Tensor, wanted: Sampled, size: tuple[int, int] | None = None,
    stated: tuple[int, int] = STATED,
) -> TrajectoryError:  # fmt: skip
    """Compare points followed in a clip with the tracks that asked for them.

    followed: (N, F, 2) pixels of `size` (width, height), None = the size of `wanted`; seen: (N, F) bool.
    `stated` is the frame size the distances are told in. Raises ValueError when there is no track, or
    the numbers of tracks or frames differ.
    """
    if not wanted.tracks:
        raise ValueError("There is no visible track to compare with")
    if followed.shape != wanted.paths.shape:
        (n, f), (m, g) = followed.shape[:2], wanted.paths.shape[:2]
        raise ValueError(
            f"{n} points over {f} frames were followed, the trajectories are {m} over {g} frames"
        )
    scale = [
        torch.tensor(stated, dtype=torch.float64) / torch.tensor(s)
        for s in (size or wanted.size, wanted.size)
    ]
    distance = (followed.double() * scale[0] - wanted.paths * scale[1]).norm(dim=-1)
    names, roles = zip(*((track.name, track.role) for track in wanted.tracks), strict=True)
    return TrajectoryError(distance, seen, names, roles)
