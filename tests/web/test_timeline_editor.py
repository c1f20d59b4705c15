"""The keyframe timeline in the graph: thumbnails, dragging, prompts, one frame and five hundred."""

import io
import json

import pytest
from PIL import Image

NODE = "ChoreoKeyframeTimeline"
SIZE = (640, 430)
COLOURS = ("red", "green", "blue")
IMAGES = """(names) => {
    const nodes = names.map((name, i) => {
        const node = LiteGraph.createNode("LoadImage");
        node.pos = [60, 170 + 390 * i];
        app.graph.add(node);
        const widget = node.widgets.find((each) => each.name === "image");
        widget.options.values.push(name);
        widget.value = name;
        return node;
    });
    let source = nodes[0];
    for (const [i, next] of nodes.slice(1).entries()) {
        const batch = LiteGraph.createNode("ImageBatch");
        batch.pos = [420, 170 + 390 * i];
        app.graph.add(batch);
        source.connect(0, batch, 0);
        next.connect(0, batch, 1);
        source = batch;
    }
    const timeline = app.graph.nodes.find((node) => node.type === "ChoreoKeyframeTimeline");
    source.connect(0, timeline, timeline.findInputSlot("images"));
}"""


def timeline(page, frames=16, text=None):
    """A node with a timeline; its id and its editor."""
    values = {"frames": frames, **({"timeline": text} if text else {})}
    return page.add(NODE, size=SIZE, **values), page.editor("keyframes")


def connect_images(page):
    names = []
    for colour in COLOURS:
        file = io.BytesIO()
        Image.new("RGB", (32, 32), colour).save(file, "PNG")
        names.append(page.upload(f"{colour}.png", file.getvalue()))
    page.run(IMAGES, names)
    page.settle()


def keys(page, node):
    return json.loads(page.value(node, "timeline"))["keys"]


def drag_to(page, editor, key, lane, frame, frames):
    """Drag a key by where it is held to a frame of its lane."""
    box, at = lane.bounding_box(), key.bounding_box()
    here = float(key.evaluate("key => key.parentElement.frame"))
    x, y = at["x"] + min(at["width"] / 2, 8), at["y"] + at["height"] / 2
    mouse = page.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + box["width"] * (frame - here) / (frames - 1), y, steps=4)
    mouse.up()
    page.settle()


def test_images_show_and_are_dragged_to_their_frames(page, pictures):
    node, editor = timeline(page)
    connect_images(page)
    faces = editor.locator(".choreo-pictures img")
    sources = [faces.nth(i).get_attribute("src") for i in range(3)]
    assert [colour in source for colour, source in zip(COLOURS, sources, strict=True)] == [True] * 3
    assert keys(page, node) == [], "nothing is written before the user does something"
    lane, thumbs = editor.locator(".choreo-pictures"), editor.locator(".choreo-pictures input")
    drag_to(page, editor, thumbs.nth(1), lane, 3, 16)
    assert keys(page, node) == [{"frame": 0}, {"frame": 3}, {"frame": 15}]
    thumbs.nth(1).focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft"):
        page.page.keyboard.press(key)
    page.settle()
    assert keys(page, node)[1] == {"frame": 1}, "frame 0 is taken"
    editor.locator("label:has-text('Strength') input").fill("0.4")
    page.page.keyboard.press("Tab")
    editor.locator("label:has-text('Easing'):visible select").select_option("smooth")
    page.settle()
    assert keys(page, node)[1] == {"frame": 1, "strength": 0.4, "easing": "smooth"}
    saved = page.serialize()
    page.load(saved)
    assert page.serialize()["nodes"][0]["widgets_values"] == saved["nodes"][0]["widgets_values"]
    assert not page.errors


def test_prompts_are_written_and_retimed_on_the_same_ruler(page):
    node, editor = timeline(page)
    editor.locator("input[value='Add prompt']").click()
    editor.locator("textarea").fill("a red ball")
    editor.locator("input[type=range][aria-label=Frame]").fill("8")
    editor.locator("input[value='Add prompt']").click()
    editor.locator("textarea").fill('a "blue" ball')
    editor.locator("label:has-text('Weight') input").fill("1.2")
    page.page.keyboard.press("Tab")
    page.settle()
    lane, blocks = editor.locator(".choreo-prompts"), editor.locator(".choreo-prompts input")
    drag_to(page, editor, blocks.nth(1), lane, 5, 16)
    expected = [{"frame": 0, "text": "a red ball"}, {"frame": 5, "text": 'a "blue" ball', "weight": 1.2}]
    assert json.loads(page.value(node, "timeline"))["prompts"] == expected
    blocks.nth(0).focus()
    page.page.keyboard.press("Control+z")
    page.settle()
    assert json.loads(page.value(node, "timeline"))["prompts"][1]["frame"] == 8
    page.page.keyboard.press("Control+y")
    page.page.keyboard.press("Delete")
    page.settle()
    assert json.loads(page.value(node, "timeline"))["prompts"] == expected[1:]
    assert page.run("app.graph.nodes.length") == 1


def test_what_is_typed_stays_with_the_entry_it_was_typed_for(page):
    prompts = [{"frame": 0, "text": "a red ball"}, {"frame": 8, "text": "a blue ball"}]
    node, editor = timeline(page, text=json.dumps({"version": 1, "keys": [], "prompts": prompts}))
    blocks = editor.locator(".choreo-prompts input")
    blocks.nth(0).click()
    editor.locator("textarea").fill("a green ball")
    drag_to(page, editor, blocks.nth(1), editor.locator(".choreo-prompts"), 8, 16)
    found = json.loads(page.value(node, "timeline"))["prompts"]
    assert found == [{**prompts[0], "text": "a green ball"}, prompts[1]]
    assert editor.locator("textarea").input_value() == "a blue ball"
    assert not page.errors


@pytest.mark.parametrize("frames", [1, 500])
def test_one_frame_and_five_hundred(page, frames):
    text = json.dumps({"version": 1, "keys": [{"frame": 0}, {"frame": -1}][: min(frames, 2)], "prompts": []})
    node, editor = timeline(page, frames, text)
    lane, thumbs = editor.locator(".choreo-pictures"), editor.locator(".choreo-pictures input")
    assert thumbs.count() == min(frames, 2)
    drag_to(page, editor, thumbs.last, lane, frames // 2, max(frames, 2))
    if frames == 1:
        assert page.value(node, "timeline") == text, "there is nowhere to go"
    else:
        assert keys(page, node)[1]["frame"] == pytest.approx(250, abs=2)
    assert editor.locator(".choreo-tick").count() < 120
    assert not page.errors
