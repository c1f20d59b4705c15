"""All numbers of one clip together, as the Video Metrics node shows them."""

import json
import math
from dataclasses import asdict, dataclass

import torch

from ..optical_flow import Report, check_dis, check_pairs, dis_pairs, farneback_pairs
from .features import FeatureScores
from .jitter import clip_jitter
from .motion import FlowRating, Rated, flow_rating
from .quality import check_pair, psnr, psnr_global, ssim
from .sharpness import sharpness
from .steadiness import level_spread, warped_difference

PASSES = 5  # Farneback; DIS of the clip; DIS both ways of the clip that guides the warp; jitter
PER_FRAME = ("warped_difference", "psnr", "ssim", "sharpness", "jitter")


@dataclass(frozen=True)
class ClipReport:
    """Numbers of one clip; psnr and ssim are per frame, and empty where no reference was given.

    warped_difference: per pair, 0..255; level_spread: 0..255; psnr_global in dB, NaN without a reference;
    sharpness: per frame; jitter: per three frames, in pixels a frame squared; features: with a net.
    """

    farneback: FlowRating
    dis: FlowRating
    warped_difference: tuple[float, ...]
    level_spread: float
    psnr: tuple[float, ...] = ()
    ssim: tuple[float, ...] = ()
    psnr_global: float = math.nan
    sharpness: tuple[float, ...] = ()
    jitter: tuple[float, ...] = ()
    features: FeatureScores | None = None

    def as_json(self) -> str:
        """Give indented JSON; means beside the per-frame lists, null for what could not be computed."""
        report = asdict(self)
        for name in PER_FRAME:
            report[f"{name}_mean"] = mean(report[name])
        if self.features is not None:
            report["features"] |= {f"{n}_mean": mean(v) for n, v in asdict(self.features).items()}
        return json.dumps(_plain(report), indent=1, sort_keys=True, allow_nan=False)

    def curves(self) -> dict[str, tuple[float, ...]]:
        """What can be drawn over the frames, by title with unit; empty ones are things not measured."""
        seen = self.features or FeatureScores(())
        return {
            "Farneback flow, px a frame": self.farneback.per_frame,
            "DIS flow, px a frame": self.dis.per_frame,
            "warped difference, 0..255": self.warped_difference,
            "jitter, px a frame squared": self.jitter,
            "sharpness, variance of the Laplacian": self.sharpness,
            "PSNR, dB": self.psnr,
            "SSIM": self.ssim,
            "temporal consistency, cosine": seen.consistency,
            "likeness to the references, cosine": seen.likeness,
            "likeness to the prompt, cosine": seen.text,
        }

    def text(self) -> str:
        """The means, one a line with its unit; what was not measured is left out."""
        lines = [f"{title}: {mean(values):.4f}" for title, values in self.curves().items() if values]
        return "\n".join([*lines, f"spread of the level, 0..255: {self.level_spread:.4f}"])


def mean(values: tuple[float, ...]) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _plain(value):
    """Numbers rounded to six decimals and NaN turned into None, since JSON has none."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return round(value, 6) if math.isfinite(value) else None


def check_measurable(frames: torch.Tensor, reference: torch.Tensor | None) -> None:
    """Raise ValueError for what `measure` refuses, before any work."""
    if reference is not None:
        check_pair(frames, reference)
    check_dis(frames)
    check_pairs(frames)


def measure(
    frames: torch.Tensor, reference: torch.Tensor | None = None, report: Report | None = None
) -> ClipReport:
    """Measure a clip, (F, H, W, 3) uint8 or 0..1, F >= 2, and compare it with a reference where one is given.

    The warped difference follows the reference's motion when the reference has as many frames, else the
    clip's own (DIS both ways). report(done, total): called after each pair of frames, in all passes; it may
    raise to stop.
    """
    check_measurable(frames, reference)
    steps = len(frames) - 1

    def stage(first: int, last: int | None = None) -> Report | None:
        passes = 1 if last is None else last - first + 1
        return report and (
            lambda done, parts: report(first * steps + passes * done * steps // parts, PASSES * steps)
        )

    farneback = flow_rating(farneback_pairs(frames, report=stage(0)))
    dis, warped = _motion(frames, reference, stage)
    quality = {}
    if reference is not None:
        quality = {
            "psnr": tuple(psnr(frames, reference).tolist()),
            "ssim": tuple(ssim(frames, reference).tolist()),
            "psnr_global": psnr_global(frames, reference),
        }
    quality["sharpness"] = tuple(sharpness(frames).tolist())
    quality["jitter"] = clip_jitter(frames, stage(4))
    return ClipReport(farneback, dis, tuple(warped.tolist()), level_spread(frames), **quality)


def _motion(frames: torch.Tensor, reference: torch.Tensor | None, stage) -> tuple[FlowRating, torch.Tensor]:
    """DIS rating of a clip, and its warped difference; where it guides itself, from the same flow."""
    if reference is None or len(reference) == 1:
        own = Rated(dis_pairs(frames))
        warped = warped_difference(frames, dis_pairs(frames, backward=True, report=stage(1, 3)), own)
        return own.rating(), warped
    rating = flow_rating(dis_pairs(frames, report=stage(1)))
    backward = dis_pairs(reference, backward=True, report=stage(2, 3))
    return rating, warped_difference(frames, backward, dis_pairs(reference))
