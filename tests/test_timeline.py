"""The keyframe timeline: what its text means, and what it refuses."""

import json

import pytest
import torch
from choreographer.core.prompts.schedule import parse_prompts
from choreographer.core.timeline import Timeline, read_timeline

IMAGES = torch.rand(3, 4, 6, 3, generator=torch.Generator().manual_seed(0))


def text(**entries):
    return json.dumps({"version": 1, **entries})


def test_without_keys_the_images_are_spread_evenly():
    for empty in ("", text(), text(keys=[], prompts=[])):
        found = read_timeline(empty)
        assert found == Timeline()
        assert found.keyframes(IMAGES, 500).frames == (0, 250, 499)
        assert found.keyframes(IMAGES[:1], 1).frames == (0,)
        assert found.schedule() == ""


def test_key_number_k_holds_the_kth_image():
    keys = [{"frame": 12}, {"frame": 0, "strength": 0.25}, {"frame": -1, "easing": "sharp"}]
    items = read_timeline(text(keys=keys)).keyframes(IMAGES, 16).items
    assert [(item.frame, item.strength, item.easing) for item in items] == [
        (12, 1.0, "linear"),
        (0, 0.25, "linear"),
        (-1, 1.0, "sharp"),
    ]
    assert all(item.image.equal(image) for item, image in zip(items, IMAGES, strict=True))


def test_prompts_come_back_from_the_prompt_schedule():
    prompts = [
        {"frame": 8, "text": 'a "blue" ball, 5: of glass,', "easing": "hold", "weight": 1.25},
        {"frame": 0, "text": "# a red \\ ball\nin two lines"},
        {"frame": 11, "text": ""},
    ]
    keys = parse_prompts(read_timeline(text(prompts=prompts)).schedule())
    assert [(key.frame, key.value, key.weight, key.easing) for key in keys] == [
        (0, "# a red \\ ball in two lines", 1.0, ""),
        (8, 'a "blue" ball, 5: of glass,', 1.25, "hold"),
        (11, "", 1.0, ""),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{", "not valid JSON.*line 1"),
        ("[]", r"expected .*version"),
        ('{"version": 2}', r"expected .*version"),
        (text(key=[]), "unknown entry 'key'"),
        (text(keys={}), "keys are .* expected a list"),
        (text(keys=[3]), "key 1 is 3"),
        (text(keys=[{"frame": 0}, {"strength": 1}]), "key 2 has no frame"),
        (text(keys=[{"frame": 1.5}]), "key 1: frame is 1.5"),
        (text(keys=[{"frame": True}]), "key 1: frame is True"),
        (text(keys=[{"frame": 0, "easing": "hold"}]), "key 1: easing is 'hold', expected one of linear"),
        (text(keys=[{"frame": 0, "strength": "1"}]), "key 1: '1' is no strength"),
        (text(prompts=[{"frame": 0}]), "prompt 1 has no text"),
        (text(prompts=[{"frame": 0, "text": 1}]), "prompt 1: text is 1"),
        (text(prompts=[{"frame": 0, "text": "a", "weight": -1}]), "prompt 1: -1 is no"),
    ],
)
def test_mistakes_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        read_timeline(given)


def test_images_and_keys_must_be_as_many():
    with pytest.raises(ValueError, match="2 keys for 3 images"):
        read_timeline(text(keys=[{"frame": 0}, {"frame": 1}])).keyframes(IMAGES, 16)
