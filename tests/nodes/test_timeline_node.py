"""The keyframe timeline's node: keyframes, the prompt schedule and the number of frames from one text."""

import json

import pytest
import torch
from choreographer.core.prompts.schedule import parse_prompts

IMAGES = torch.rand(2, 8, 8, 3, generator=torch.Generator().manual_seed(1))
TEXT = json.dumps(
    {
        "version": 1,
        "keys": [{"frame": -1, "strength": 0.5}, {"frame": 2}],
        "prompts": [{"frame": 4, "text": "b"}, {"frame": 0, "text": "a"}],
    }
)


@pytest.fixture(scope="module")
def node(comfy_host):
    from choreographer.nodes.timeline import KeyframeTimeline

    return KeyframeTimeline


def test_images_prompts_and_frames_come_out(node):
    keyframes, schedule, frames = node.execute(TEXT, 9, IMAGES).result
    assert keyframes.placed(frames).frames == (2, 8) and frames == 9
    assert [(key.frame, key.value) for key in parse_prompts(schedule)] == [(0, "a"), (4, "b")]


def test_keyframes_add_up(node):
    first, *_ = node.execute("", 9, IMAGES).result
    assert first.frames == (0, 8)
    both, *_ = node.execute(TEXT, 9, IMAGES, previous=first).result
    assert both.frames == (0, 8, -1, 2)


def test_the_default_runs_and_prompts_need_no_images(node):
    default = {each.id: each.default for each in node.define_schema().inputs if hasattr(each, "default")}
    keyframes, schedule, frames = node.execute(default["timeline"], default["frames"]).result
    assert not keyframes.items and schedule == "" and frames == 16
    with pytest.raises(ValueError, match="2 keys and no images"):
        node.execute(TEXT, 9)
