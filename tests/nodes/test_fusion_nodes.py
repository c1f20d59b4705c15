"""The fusion nodes on a real host: thin over the core, with progress and interrupt."""

import math

import pytest
import torch
from choreographer.tests.fusion.clips import golden_clip, unaligned_mean
from choreographer.tests.nodes.tiny import pack


@pytest.fixture(scope="module")
def nodes(comfy_host):
    return pack("nodes.fusion")


@pytest.fixture(scope="module")
def clip():
    """A corner of five frames of the golden clip, by name."""
    return {name: frames[:5, :40, :48] for name, frames in golden_clip().items()}


def keyframes(images, places):
    return pack("core.keyframes").keyframes_of_batch(images, places)


def defaults(node):
    """The default of each input that has one."""
    inputs = node.define_schema().inputs
    return {entry.id: entry.default for entry in inputs if getattr(entry, "default", None) is not None}


def test_deflicker_with_its_defaults_is_fusion_without_a_guide(nodes, clip):
    from choreographer.core.fusion.stream import fuse_clip

    found = nodes.DeflickerVideo.execute(clip["style"], **defaults(nodes.DeflickerVideo)).result[0]
    assert found.shape == clip["style"].shape and found.dtype == torch.float32
    assert torch.equal(found, fuse_clip(clip["style"]))
    fused = nodes.FuseFrames.execute(clip["style"], **defaults(nodes.FuseFrames)).result[0]
    assert torch.equal(found, fused)


def test_fuse_frames_passes_everything_on(nodes, clip):
    from choreographer.core.fusion.attention import Attention
    from choreographer.core.fusion.stream import Fusion, fuse_clip

    keys = keyframes(clip["truth"][[0, 4]], (0, -1))
    found = nodes.FuseFrames.execute(
        clip["style"], 2, 0.5, 3.0, 0.2, 2, 10.0, False, guide=clip["guide"], keyframes=keys
    ).result[0]
    settings = Fusion(2, 0.5, 3.0, 0.2, False, Attention(radius=2, temperature=10.0))
    assert torch.equal(found, fuse_clip(clip["style"], settings, clip["guide"], keys))
    assert torch.equal(found[0], clip["truth"][0]) and torch.equal(found[4], clip["truth"][4])


def test_interpolation_gives_a_frame_for_each_of_the_guide(nodes, clip):
    keys = keyframes(1 - clip["truth"][[0, 4]], (0, 4))
    node = nodes.InterpolateKeyframes
    found = node.execute(clip["guide"], keys, **defaults(node)).result[0]
    assert found.shape == (5, 40, 48, 3) and torch.equal(found[4], 1 - clip["truth"][4])


def test_flow_rating_warns(nodes, clip):
    report, total, mean, percent, detail = nodes.FlowRatingNode.execute(
        unaligned_mean(clip["truth"], 2), clip["truth"]
    ).result
    assert "may be ghosting" in report and detail < 1
    assert total == pytest.approx(mean * 4 * 40 * 48, rel=1e-6)
    assert percent == pytest.approx(100 * mean / math.hypot(40, 48), rel=1e-6)
    report, *_, detail = nodes.FlowRatingNode.execute(clip["truth"]).result
    assert "A lower flow rating is not a better clip" in report and math.isnan(detail)


def test_interrupt_stops_between_frames(nodes, clip):
    import comfy.model_management

    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        nodes.DeflickerVideo.execute(clip["style"], **defaults(nodes.DeflickerVideo))


def test_what_does_not_fit_is_one_sentence(nodes, clip):
    with pytest.raises(ValueError, match="The clip has 5 frames, the guide 4; expected as many"):
        nodes.FuseFrames.execute(clip["style"], **defaults(nodes.FuseFrames), guide=clip["guide"][:4])
