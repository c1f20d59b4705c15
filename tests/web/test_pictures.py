"""The editors as a stranger sees them: drawn where they should be. CHOREO_PICTURES keeps the screenshots."""

import io
import json

import numpy as np
from choreographer.tests.web.examples import SIZE, frame_of_the_world
from choreographer.tests.web.page import StageOf
from choreographer.tests.web.test_timeline_editor import IMAGES
from PIL import Image

DRAWN = {
    "version": 1,
    "size": list(SIZE),
    "frames": 16,
    "tracks": [
        {
            "name": "ball",
            "curve": "catmull-rom",
            "timing": "length",
            "points": [
                {"x": 0.16, "y": 0.7, "hold": 2, "easing": "ease in-out"},
                {"x": 0.35, "y": 0.3},
                {"x": 0.6, "y": 0.62, "frame": 9},
                {"x": 0.85, "y": 0.25},
            ],
        },
        {
            "name": "bird",
            "curve": "bezier",
            "points": [
                {"x": 1.03, "y": 0.12, "out": [-0.2, 0.25]},
                {"x": 0.45, "y": 0.1, "into": [0.15, 0.2], "out": [-0.15, -0.2]},
                {"x": 0.08, "y": 0.3},
            ],
        },
        {"name": "anchor", "points": [{"x": 0.5, "y": 0.9}]},
        {"name": "ground", "role": "camera", "points": [{"x": 0.72, "y": 0.86}, {"x": 0.9, "y": 0.86}]},
    ],
}
KEYS = {
    "version": 1,
    "keys": [{"frame": 0}, {"frame": 6, "strength": 0.6, "easing": "smooth"}, {"frame": -1}],
    "prompts": [
        {"frame": 0, "text": "a yellow face and a ring on brick"},
        {"frame": 8, "text": "the face moves to the right", "easing": "smooth"},
    ],
}


def load_image(page, name, target, slot):
    """A loading node for an uploaded image, connected."""
    page.run(
        """([name, target, slot]) => {
            const node = LiteGraph.createNode("LoadImage");
            node.pos = [90, 170];
            app.graph.add(node);
            const widget = node.widgets.find((each) => each.name === "image");
            widget.options.values.push(name);
            widget.value = name;
            const to = app.graph.getNodeById(target);
            node.connect(0, to, to.findInputSlot(slot));
        }""",
        [name, target, slot],
    )


def colours(page, locator):
    """How many different colours a part of the page has."""
    picture = Image.open(io.BytesIO(locator.screenshot())).convert("RGB")
    return len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0))


def test_paths_are_drawn_over_the_connected_image(page, pictures):
    node = page.add("ChoreoTrajectories", place=(460, 170), size=(560, 620), trajectories=json.dumps(DRAWN))
    stage = page.editor().locator(".choreo-stage")
    plain = colours(page, stage)
    load_image(page, page.upload("world.png", frame_of_the_world(3)), node, "background")
    page.page.wait_for_load_state("networkidle")
    page.until(lambda: colours(page, stage) > plain + 500, "the image is behind the paths")
    tool = StageOf(page, page.editor(), SIZE)
    tool.press("t", "t", "t", "t")
    page.picture_of_graph(pictures / f"trajectory_editor-{page.frontend}.png", largest=1)
    page.editor().locator("input[aria-label^='Full screen']").click()
    page.settle()
    page.page.screenshot(path=pictures / f"trajectory_editor_full-{page.frontend}.png")
    page.page.keyboard.press("Escape")
    assert page.value(node, "trajectories") == json.dumps(DRAWN), "looking changes nothing"
    assert not page.errors


def test_the_timeline_shows_images_and_prompts(page, pictures):
    node = page.add("ChoreoKeyframeTimeline", place=(690, 170), size=(760, 430), timeline=json.dumps(KEYS))
    names = [page.upload(f"key{i}.png", frame_of_the_world(5, at)) for i, at in enumerate((0, 6, 15))]
    page.run(IMAGES, names)
    editor = page.editor("keyframes")
    editor.locator("input[aria-label=Frame]").fill("4")
    editor.locator(".choreo-pictures input").nth(1).click()
    page.until(lambda: colours(page, editor.locator(".choreo-pictures")) > 300, "the images are shown")
    page.picture_of_graph(pictures / f"keyframe_timeline-{page.frontend}.png", largest=1)
    assert page.value(node, "timeline") == json.dumps(KEYS)
