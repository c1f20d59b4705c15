"""Sharpness, and the flow rating in words."""

import pytest
import torch
from choreographer.core.metrics.rating import CAVEAT, rate
from choreographer.core.metrics.sharpness import sharpness
from choreographer.tests.fusion.clips import golden_clip, unaligned_mean


def test_sharpness_is_that_of_opencv():
    import cv2

    clip = golden_clip()["truth"][:2]
    for frame, found in zip(clip, sharpness(clip), strict=True):
        luma = (frame.double() * 255) @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
        expected = cv2.Laplacian(luma.numpy(), cv2.CV_64F, borderType=cv2.BORDER_REPLICATE).var()
        assert float(found) == pytest.approx(expected, rel=1e-9)


def test_ghosting_lowers_the_rating_and_is_warned_of():
    clip = golden_clip()
    truth = rate(clip["truth"])
    assert CAVEAT in truth.text() and "0.6413 px a frame" in truth.text()
    ghost = rate(unaligned_mean(clip["truth"], 4), clip["truth"])
    assert ghost.flow.mean_px < 0.5 * truth.flow.mean_px and ghost.detail < 0.85
    assert "may be ghosting or frozen motion" in ghost.text() and "may be ghosting or blur" in ghost.text()
    assert "may be flicker" in rate(clip["style"], clip["truth"]).text()
    assert "Warning" not in rate(clip["truth"], clip["truth"]).text()


def test_progress_and_errors():
    clip, calls = golden_clip()["truth"][:3], []
    rate(clip, clip, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(ValueError, match="3 frames, the reference 1"):
        rate(clip, clip[:1])
    with pytest.raises(ValueError, match="expected .frames"):
        sharpness(clip[0])
