"""The Video Metrics node on a real host."""

import json
import math

import numpy as np
import pytest
import torch
from choreographer.tests.metrics.test_metrics import DATA, GOLDEN
from choreographer.tests.nodes.tiny import pack


@pytest.fixture(scope="module")
def node(comfy_host):
    """The node class."""
    return pack("nodes.metrics").VideoMetrics


@pytest.fixture(scope="module")
def clips():
    """The golden clips as host images, (16, 96, 96, 3) in 0..1."""
    arrays = np.load(DATA / "seqA_clips.npz")
    return {name: torch.from_numpy(arrays[name]).float() / 255 for name in ("truth", "style")}


def outputs(node, *args):
    """The outputs by their display names."""
    names = [output.display_name for output in node.define_schema().outputs]
    return dict(zip(names, node.execute(*args).result, strict=True))


def test_numbers_are_the_golden_ones(node, clips):
    """Every socket carries the number its name says."""
    found, golden = outputs(node, clips["style"], clips["truth"]), GOLDEN["style"]
    assert found["flow_total"] == pytest.approx(golden["flow_total_px"], rel=1e-4)
    assert found["flow_mean"] == pytest.approx(golden["flow_mean_px"], abs=1e-4)
    assert found["flow_percent"] == pytest.approx(golden["flow_mean_over_diag_pct"], abs=1e-4)
    assert found["psnr"] == pytest.approx(golden["psnr_mean"], abs=1e-4)
    report = json.loads(found["report"])
    assert report["warped_difference_mean"] == pytest.approx(found["warped_difference"], abs=1e-6)
    assert report["dis"]["mean_px"] == pytest.approx(found["dis_flow_mean"], abs=1e-6)
    assert report["ssim_mean"] == pytest.approx(found["ssim"], abs=1e-6)


def test_without_a_reference(node, clips):
    """Likeness is NaN on its sockets and null in the report; the plot leaves those curves out."""
    alone, both = outputs(node, clips["style"][:4]), outputs(node, clips["style"][:4], clips["truth"][:4])
    assert math.isnan(alone["psnr"]) and math.isnan(alone["ssim"])
    assert json.loads(alone["report"])["psnr_mean"] is None
    assert alone["plot"].shape[0] == 1 and alone["plot"].shape[-1] == 3
    assert both["plot"].shape[1] * 3 == alone["plot"].shape[1] * 5


def test_interrupt_stops_it(node, clips):
    """The interrupt is noticed between frames."""
    import comfy.model_management

    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        node.execute(clips["style"])
