"""The picture of per-frame curves."""

import math

import pytest
import torch
from choreographer.core.metrics.plot import PANEL, WIDTH, plot


def coloured(picture):
    """How many pixels are clearly blue, as the curve is."""
    return int((picture[..., 2] - picture[..., 0] > 0.3).sum())


def test_one_panel_a_curve():
    """Empty curves take no room; values are 0..1."""
    picture = plot({"a": (1.0, 2.0, 3.0), "b": (), "c": (0.5,)})
    assert picture.shape == (2 * PANEL, WIDTH, 3)
    assert picture.dtype == torch.float32
    assert 0 <= float(picture.min()) and float(picture.max()) <= 1
    assert coloured(picture[:PANEL]) > coloured(picture[PANEL:]) > 0


def test_gaps_and_negative_values():
    """NaN draws nothing, but does not hide the rest; a curve of NaN only is an empty panel."""
    assert coloured(plot({"a": (1.0, math.nan, 1.0)})) < coloured(plot({"a": (1.0, 1.0, 1.0)}))
    assert coloured(plot({"a": (math.nan, math.nan)})) == 0
    assert coloured(plot({"a": (-1.0, 1.0)})) > 0


def test_nothing_to_plot():
    """It says so."""
    with pytest.raises(ValueError, match="nothing to plot"):
        plot({"a": ()})
