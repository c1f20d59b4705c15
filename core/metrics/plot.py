"""Per-frame curves as one picture, drawn with OpenCV (no plotting library needed)."""

import math

import cv2
import numpy as np
import torch

WIDTH, PANEL, MARGIN = 640, 150, 28  # pixels; PANEL is the height of one curve
INK, GRID, CURVE = (40, 40, 40), (222, 222, 222), (32, 96, 192)  # RGB


def plot(curves: dict[str, tuple[float, ...]]) -> torch.Tensor:
    """One panel a curve, under each other, (H, W, 3) float32 0..1; values that are not finite leave a gap.

    curves: title (with unit) -> values over frames; empty ones are left out. ValueError if none is left.
    """
    curves = {title: values for title, values in curves.items() if values}
    if not curves:
        raise ValueError("There is nothing to plot: every curve is empty.")
    picture = np.concatenate([_panel(title, values) for title, values in curves.items()])
    return torch.from_numpy(picture).float() / 255


def _panel(title: str, values: tuple[float, ...]) -> np.ndarray:
    """One curve from zero (or its minimum, where negative) to its maximum, (PANEL, WIDTH, 3) uint8."""
    picture = np.full((PANEL, WIDTH, 3), 255, np.uint8)
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(0.0, *finite), max(finite)
    span = (high - low) or 1.0
    top, bottom = MARGIN, PANEL - MARGIN // 2
    cv2.rectangle(picture, (MARGIN, top), (WIDTH - MARGIN, bottom), GRID, 1)
    text = f"{title}   0..{high:.4g}" if low == 0 else f"{title}   {low:.4g}..{high:.4g}"
    cv2.putText(picture, text, (MARGIN, MARGIN - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    step = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)
    before = None
    for i, value in enumerate(values):
        if not math.isfinite(value):
            before = None
            continue
        point = (round(MARGIN + i * step), round(bottom - (value - low) / span * (bottom - top)))
        cv2.circle(picture, point, 2, CURVE, -1, cv2.LINE_AA)
        if before is not None:
            cv2.line(picture, before, point, CURVE, 1, cv2.LINE_AA)
        before = point
    return picture
