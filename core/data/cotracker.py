"""CoTracker as a point tracker, from a local folder: nothing is fetched, and none of it is in this pack."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..files import read_weights

WEIGHTS = "scaled_offline.pth"


class CoTracker:
    """Follows points as `core.trajectory.tracker.track_points` does, by CoTracker 3's offline model.

    folder: a copy of its repository (github.com/facebookresearch/co-tracker, whose code is run), with
    `scaled_offline.pth` in it or in its `checkpoints`. Raises ValueError when one of the two is not there.
    """

    def __init__(self, folder: str | Path, device: str = "cpu"):
        """Load the model."""
        folder = Path(folder)
        if not (folder / "hubconf.py").is_file():
            raise ValueError(f"'{folder}' is no copy of CoTracker's repository: it has no hubconf.py")
        weights = next((p for p in (folder / WEIGHTS, folder / "checkpoints" / WEIGHTS) if p.is_file()), None)
        if weights is None:
            raise ValueError(f"'{folder}' holds no {WEIGHTS}; put CoTracker 3's offline weights there")
        self.device = device
        self.predictor = torch.hub.load(str(folder), "cotracker3_offline", source="local", pretrained=False)
        self.predictor.model.load_state_dict(read_weights(weights)[0])
        self.predictor.to(device)

    @torch.inference_mode()
    def __call__(self, frames: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Follow points (N, 2) of frame 0 of (F, H, W, 3) uint8: paths (N, F, 2), seen (N, F) bool."""
        clip = frames.movedim(-1, 1)[None].float().to(self.device)  # 1 F 3 H W, 0..255
        start = torch.cat((torch.zeros(len(points), 1), points.float() - 0.5), 1)[None].to(self.device)
        paths, seen = self.predictor(clip, queries=start)  # 1 F N 2, 1 F N
        return paths[0].transpose(0, 1).double().cpu() + 0.5, seen[0].T.bool().cpu()
