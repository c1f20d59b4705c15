"""Values in the workflows that a schema's range cannot judge: the nodes themselves take them."""

import json
from pathlib import Path

import numpy as np
import pytest
from choreographer.tests.nodes.clips import call
from choreographer.tests.nodes.tiny import pack
from PIL import Image

API = Path(__file__).resolve().parents[2] / "workflows" / "api"


def prompt_of(name):
    return json.loads((API / f"{name}.json").read_text(encoding="utf-8"))


def inputs_of(prompt, kind):
    return [entry["inputs"] for entry in prompt.values() if entry["class_type"] == kind]


def test_windows_and_tiles_of_all_workflows_are_accepted(comfy_host):
    windows, tiles, found = pack("nodes.host.windows"), pack("nodes.host.tiles"), 0
    for path in sorted(API.glob("**/*.json")):
        prompt = prompt_of(path.relative_to(API).with_suffix("").as_posix())
        for given in inputs_of(prompt, "ChoreoContextWindows"):
            windows.check_windows(**{name: value for name, value in given.items() if name != "model"})
            found += 1
        for given in inputs_of(prompt, "ChoreoRefineTiles"):
            tiles.TileOptions.of_pixels(given["tile_size"], given["overlap"], given["weights"])
            found += 1
    assert found >= 4


def test_a_twin_scales_pixels_and_no_frames():
    (demo,), (twin,) = (
        inputs_of(prompt_of(name), "ChoreoContextWindows") for name in ("long_video", "public/long_video")
    )
    assert twin == demo
    (demo,), (twin,) = (
        inputs_of(prompt_of(name), "ChoreoRefineTiles") for name in ("refine_tiles", "public/refine_tiles")
    )
    assert (twin["tile_size"], twin["overlap"]) == (4 * demo["tile_size"], 4 * demo["overlap"])


def executed(prompt, node, kinds):
    """Outputs of a node and of those before it, by functions for each class."""
    entry = prompt[node]
    inputs = {
        name: executed(prompt, value[0], kinds)[value[1]] if isinstance(value, list) else value
        for name, value in entry["inputs"].items()
    }
    return kinds[entry["class_type"]](**inputs)


@pytest.mark.parametrize("name", ["public/videobooth"])
def test_a_picture_without_transparency_goes_through_the_workflow(own_folders, name):
    """As the stock 'Load Image' gives it; the picture that ComfyUI brings is one."""
    folders = own_folders()
    folders.input.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    Image.fromarray(pixels).save(folders.input / "example.png")
    import nodes

    image_prompt, prompt = pack("nodes.image_prompt"), prompt_of(name)
    (box,) = (node for node, entry in prompt.items() if entry["class_type"] == "ChoreoSubjectBox")
    (encode,) = (node for node, entry in prompt.items() if entry["class_type"] == "ChoreoEncodeImagePrompt")
    kinds = {
        "LoadImage": nodes.LoadImage().load_image,
        "InvertMask": lambda mask: (1 - mask,),
        "ChoreoSubjectBox": lambda **given: call(image_prompt.SubjectBox, **given),
        "ChoreoEncodeImagePrompt": lambda **given: call(
            image_prompt.EncodeImagePrompt, **{**given, "image_prompt_model": None}
        ),
        "ChoreoLoadImagePromptModel": lambda **_: (None,),
        "CLIPVisionLoader": lambda **_: (None,),
    }
    assert executed(prompt, box, kinds)[0] == "0: 0, 0, 128, 96"
    assert executed(prompt, encode, kinds)[0].pictures[0].image.shape == (3, 128, 128)
