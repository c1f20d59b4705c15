"""A loss curve as a PNG, drawn with OpenCV so that no plotting package is needed."""

from pathlib import Path

import cv2
import numpy as np


def curve_image(losses, width=640, height=320):
    """Smoothed losses on a log scale as an RGB uint8 picture (height, width, 3)."""
    canvas = np.full((height, width, 3), 255, np.uint8)
    values = np.asarray(losses, np.float64)
    if len(values) < 2:
        return canvas
    span = max(1, len(values) // 100)
    smooth = np.log10(np.maximum(np.convolve(values, np.ones(span) / span, "valid"), 1e-8))
    low, high = smooth.min(), smooth.max()
    x = np.linspace(50, width - 15, len(smooth))
    y = height - 30 - (smooth - low) / max(high - low, 1e-6) * (height - 60)
    cv2.rectangle(canvas, (50, 25), (width - 15, height - 30), (200, 200, 200), 1)
    cv2.polylines(canvas, [np.stack([x, y], 1).astype(np.int32)], False, (30, 90, 200), 1, cv2.LINE_AA)
    for text, at in ((f"{10**high:.3g}", (4, 30)), (f"{10**low:.3g}", (4, height - 30))):
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 60), 1, cv2.LINE_AA)
    label = f"loss (log), {len(values)} steps"
    cv2.putText(canvas, label, (50, height - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 60), 1, cv2.LINE_AA)
    return canvas


def draw_curve(losses, path):
    """Write `curve_image` to a PNG under a temporary name first."""
    path = Path(path)
    part = path.with_name(path.stem + ".part.png")
    if not cv2.imwrite(str(part), curve_image(losses)[..., ::-1]):
        raise OSError(f"Could not write the loss curve {path}.")
    part.replace(path)
