"""All numbers of one clip together, as the Video Metrics node shows them."""

import json
import math
from dataclasses import asdict, dataclass

import torch

from ..optical_flow import Report, dis_flow, farneback_flow
from .motion import FlowRating, flow_rating
from .quality import check_pair, psnr, psnr_global, ssim
from .steadiness import level_spread, warped_difference

FLOW_PASSES = 4  # Farneback; DIS forward; DIS forward and backward of the clip that guides the warp


@dataclass(frozen=True)
class ClipReport:
    """Numbers of one clip; psnr and ssim are per frame, and empty where no reference was given.

    warped_difference: per pair, 0..255; level_spread: 0..255; psnr_global in dB, NaN without a reference.
    """

    farneback: FlowRating
    dis: FlowRating
    warped_difference: tuple[float, ...]
    level_spread: float
    psnr: tuple[float, ...] = ()
    ssim: tuple[float, ...] = ()
    psnr_global: float = math.nan

    def as_json(self) -> str:
        """Give indented JSON; means beside the per-frame lists, null for what could not be computed."""
        report = asdict(self)
        for name in ("warped_difference", "psnr", "ssim"):
            report[f"{name}_mean"] = mean(report[name])
        return json.dumps(_plain(report), indent=1, sort_keys=True, allow_nan=False)


def mean(values: tuple[float, ...]) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _plain(value):
    """Numbers rounded to six decimals and NaN turned into None, since JSON has none."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return round(value, 6) if math.isfinite(value) else None


def measure(
    frames: torch.Tensor, reference: torch.Tensor | None = None, report: Report | None = None
) -> ClipReport:
    """Measure a clip, (F, H, W, 3) uint8 or 0..1, F >= 2, and compare it with a reference where one is given.

    The warped difference follows the reference's motion when the reference has as many frames, else the
    clip's own (DIS both ways). report(done, total): called after each pair of frames, in all passes; it may
    raise to stop.
    """
    if reference is not None:
        check_pair(frames, reference)
    total = FLOW_PASSES * (len(frames) - 1)

    def stage(number: int) -> Report | None:
        return report and (lambda done, pairs: report(number * pairs + done, total))

    farneback = flow_rating(farneback_flow(frames, report=stage(0)))
    own = dis_flow(frames, report=stage(1))
    guide = frames if reference is None or len(reference) == 1 else reference
    forward = own if guide is frames else dis_flow(guide, report=stage(2))
    backward = dis_flow(guide, backward=True, report=stage(3))
    quality = {}
    if reference is not None:
        quality = {
            "psnr": tuple(psnr(frames, reference).tolist()),
            "ssim": tuple(ssim(frames, reference).tolist()),
            "psnr_global": psnr_global(frames, reference),
        }
    warped = tuple(warped_difference(frames, backward, forward).tolist())
    return ClipReport(farneback, flow_rating(own), warped, level_spread(frames), **quality)
