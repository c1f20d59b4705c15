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


def outputs(node, *args, **named):
    """The outputs by their display names."""
    names = [output.display_name for output in node.define_schema().outputs]
    return dict(zip(names, node.execute(*args, **named).result, strict=True))


class Vision:
    """A CLIP_VISION whose features are the mean colours."""

    def encode_image(self, images, crop):
        """As the host's."""
        assert crop == "center"
        return {"image_embeds": images.mean((1, 2)).half()}


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
    assert both["plot"].shape[1] * 5 == alone["plot"].shape[1] * 7
    assert math.isnan(alone["temporal_consistency"]) and alone["sharpness"] > 0 and alone["jitter"] > 0
    assert "SSIM" in both["text"] and "SSIM" not in alone["text"]


def test_a_clip_vision_gives_consistency_and_likeness(node, clips):
    """To the frames themselves likeness is near 1; without references it is NaN."""
    frames = clips["style"][:4]
    alone = outputs(node, frames, clip_vision=Vision())
    assert 0.9 < alone["temporal_consistency"] <= 1 and math.isnan(alone["likeness"])
    both = outputs(node, frames, clip_vision=Vision(), references=clips["truth"][:2, :50])
    report = json.loads(both["report"])["features"]
    assert report["likeness_mean"] == pytest.approx(both["likeness"], abs=1e-6)
    assert len(report["likeness"]) == 4
    assert math.isnan(both["text_likeness"]) and report["text_mean"] is None


def test_a_folder_compares_with_a_prompt_too(node, clips, tmp_path, monkeypatch):
    """A folder in models/clip_vision is listed, and used instead of a CLIP_VISION."""
    import folder_paths

    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "config.json").write_text("{}")
    entry = ([str(tmp_path)], {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "clip_vision", entry)
    features = pack("nodes.host.features")
    assert features.feature_folders() == ["none", "whole"]

    class Net:
        def __init__(self, folder, device):
            assert folder.name == "whole"

        def __call__(self, images):
            return images.mean((1, 2))

        def text(self, words):
            return torch.tensor([1.0, 1.0, 1.0]) if words == "grey" else None

    monkeypatch.setattr(features, "FolderFeatures", Net)
    found = outputs(node, clips["style"][:3], feature_folder="whole", prompt=" grey ")
    assert 0.8 < found["text_likeness"] <= 1
    with pytest.raises(ValueError, match="no folder 'gone' in models/clip_vision"):
        node.execute(clips["style"][:3], feature_folder="gone")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompt": "a dog"}, "A prompt is compared by a whole CLIP model: choose its folder"),
        ({"references": torch.rand(1, 8, 8, 3)}, "References are compared by features: connect clip_vision"),
        ({"reference": torch.rand(2, 96, 96, 3), "clip_vision": "unused"}, "16 frames, the reference 2"),
        ({"frames": torch.rand(2, 8, 8, 3), "clip_vision": "unused"}, "DIS flow needs at least 16x16"),
        ({"frames": torch.rand(1, 96, 96, 3), "clip_vision": "unused"}, "at least 2 frames, got 1"),
    ],
)
def test_what_nothing_can_compare_is_refused(node, clips, given, message):
    """Before any work."""
    with pytest.raises(ValueError, match=message):
        node.execute(**{"frames": clips["style"], **given})


def test_interrupt_stops_it(node, clips):
    """The interrupt is noticed between frames."""
    import comfy.model_management

    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        node.execute(clips["style"])
