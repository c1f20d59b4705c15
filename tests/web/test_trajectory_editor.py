"""The trajectory editor in the graph: pointer and keyboard, the host's undo, copies, runs; both renderers."""

import json
from pathlib import Path

import pytest
from choreographer.core.trajectory.flow_map import flow_map
from choreographer.core.trajectory.formats import parse
from choreographer.core.trajectory.sample import sample
from choreographer.tests.web.page import StageOf

PATH = [(100, 400), (250, 120), (420, 300)]
EMPTY = '{"version": 1, "size": [512, 512], "tracks": []}'
NODE = "ChoreoTrajectories"


def open_editor(page, text=EMPTY, size=(420, 480), **place):
    """A node with an editor; its id and its stage."""
    node = page.add(NODE, size=size, trajectories=text, **place)
    return node, StageOf(page, page.editor())


def points(document, track=0):
    return [(point["x"] * 512, point["y"] * 512) for point in document["tracks"][track]["points"]]


def flow(text):
    return flow_map(sample(parse(text), 16, (64, 48)))


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_a_path_is_where_the_pointer_was_at_any_zoom(page, scale):
    node, stage = open_editor(page)
    page.zoom(scale, (160 / scale - 120, 140 / scale - 120))  # the node's corner stays on the screen
    stage.tool("Draw a path point by point")
    for place in PATH:
        stage.click(*place)
    stage.press("Enter")
    text = page.value(node, "trajectories")
    for found, meant in zip(points(json.loads(text)), PATH, strict=True):
        assert found == pytest.approx(meant, abs=1.01 / stage.pixel)  # one pixel of the screen
    track = {"name": "of a program", "points": [[x / 512, y / 512] for x, y in points(json.loads(text))]}
    assert flow(text).flow.equal(flow(json.dumps({"version": 1, "tracks": [track]})).flow)
    assert not page.errors


def test_a_double_click_ends_a_path(page):
    node, stage = open_editor(page)
    stage.tool("Draw a path point by point")
    for place in PATH[:2]:
        stage.click(*place)
    stage.click(*PATH[2], click_count=2)
    found = points(page.document(node))
    assert len(found) == 3 and found[2] == pytest.approx(PATH[2], abs=1.01 / stage.pixel)
    stage.drag(PATH[2], (300, 200))
    moved = points(page.document(node))
    assert moved[:2] == found[:2] and len(moved) == 3, "the select tool is back"
    assert not page.errors


def test_coordinates_are_drawn_and_edited_in_the_nodes_frame(page):
    text = '[[{"x": 96, "y": 64}, {"x": 288, "y": 192}]]'
    node = page.add(NODE, size=(420, 480), trajectories=text, width=384, height=256)
    stage = StageOf(page, page.editor(), (384, 256))
    stage.drag((96, 64), (192, 64))
    document = page.document(node)
    first, second = document["tracks"][0]["points"]
    assert (first["x"] * 384, first["y"] * 256) == pytest.approx((192, 64), abs=3)
    assert second == {"x": 0.75, "y": 0.75} and document["size"] == [384, 256]
    assert not page.errors


def test_points_move_alone_together_and_by_keys(page):
    text = json.dumps(
        {"version": 1, "size": [512, 512], "tracks": [{"points": [[0.25, 0.25], [0.75, 0.25]]}]}
    )
    node, stage = open_editor(page, text)
    stage.drag((128, 128), (128, 256))
    assert points(page.document(node)) == [pytest.approx((128, 256), abs=3), (384, 128)]
    stage.press("Control+z")
    assert page.value(node, "trajectories") == text, "undo gives back the very text"
    stage.press("Control+y", "Control+a", "ArrowRight", "Shift+ArrowDown")
    moved = points(page.document(node))
    assert moved == [pytest.approx((129, 266), abs=3), pytest.approx((385, 138), abs=1e-3)]
    stage.press("Escape", "n", "Delete")
    assert points(page.document(node)) == [moved[1]]
    assert page.run("app.graph.nodes.length") == 1, "Delete was the editor's alone"


def test_a_selection_is_scaled_and_turned_by_its_box(page):
    corners = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]
    node, stage = open_editor(
        page, json.dumps({"version": 1, "size": [512, 512], "tracks": [{"points": corners}]})
    )
    stage.drag((60, 60), (450, 450))  # a box around all
    pad = 10 / stage.pixel
    stage.drag((384 + pad, 384 + pad), (256 + pad / 2, 256 + pad / 2))
    assert points(page.document(node))[2] == pytest.approx((256, 256), abs=5)
    assert points(page.document(node))[0] == pytest.approx((128, 128), abs=1e-3), "the other corner stays"
    stage.press("Control+z")
    stage.drag((256, 128 - 32 / stage.pixel), (384 + 32 / stage.pixel, 256))  # a quarter to the right
    assert points(page.document(node))[0] == pytest.approx((384, 128), abs=4)


def test_free_hand_keeps_the_time_and_a_key_is_retimed_by_dragging(page):
    node, stage = open_editor(page)
    stage.tool("Draw free-hand")
    stage.drag((60, 300), (200, 100), (330, 320), (460, 200), steps=8)
    track = page.document(node)["tracks"][0]
    frames = [point["frame"] for point in track["points"]]
    assert track["timing"] == "keys" and frames == sorted(set(frames)) and (frames[0], frames[-1]) == (0, 15)
    sample(parse(json.dumps(page.document(node))), 16, (512, 512))
    first = json.dumps(
        {"version": 1, "size": [512, 512], "tracks": [{"points": [[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]]}]}
    )
    page.run("([id, text]) => { app.graph.getNodeById(id).widgets[0].value = text; }", [node, first])
    page.settle()
    lane, keys = stage.editor.locator(".choreo-keys"), stage.editor.locator(".choreo-key > input")
    box, key = lane.bounding_box(), keys.nth(1).bounding_box()
    mouse, height = page.page.mouse, key["y"] + key["height"] / 2
    mouse.move(key["x"] + key["width"] / 2, height)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 3 / 15, height, steps=4)
    mouse.up()
    page.settle()
    assert page.document(node)["tracks"][0]["points"][1] == {"x": 0.5, "y": 0.5, "frame": 3}
    keys.nth(1).focus()
    page.page.keyboard.press("ArrowRight")
    page.settle()
    assert page.document(node)["tracks"][0]["points"][1]["frame"] == 4
    page.page.keyboard.press("Delete")
    page.settle()
    assert "frame" not in page.document(node)["tracks"][0]["points"][1], "Delete lets the time go"


def test_a_pointer_that_is_taken_away_does_not_block_the_stage(page):
    text = json.dumps(
        {"version": 1, "size": [512, 512], "tracks": [{"points": [[0.25, 0.25], [0.75, 0.25]]}]}
    )
    node, stage = open_editor(page, text)
    mouse = page.page.mouse
    mouse.move(*stage.place(128, 128))
    mouse.down()
    stage.pad.evaluate(
        "pad => pad.addEventListener('pointermove', (event) => pad.releasePointerCapture(event.pointerId),"
        " { once: true })"
    )
    mouse.move(*stage.place(128, 200), steps=3)
    mouse.move(1400, 900)  # off the stage, where it is let go
    mouse.up()
    stage.click(300, 400)
    assert page.value(node, "trajectories") == text, "the point is not held any more"
    stage.drag((128, 128), (128, 256))
    assert points(page.document(node))[0] == pytest.approx((128, 256), abs=3)
    assert not page.errors


def test_the_hosts_undo_copies_and_subgraphs_keep_the_text(page):
    node, stage = open_editor(page)
    before = page.value(node, "trajectories")
    stage.tool("Add a point that stays")
    stage.click(200, 200)
    drawn = page.value(node, "trajectories")
    assert drawn != before
    saved = page.serialize()
    page.load(saved)
    assert page.serialize()["nodes"][0]["widgets_values"] == saved["nodes"][0]["widgets_values"]
    page.run("() => { document.activeElement?.blur(); app.canvas.selectNode(app.graph.nodes[0]); }")
    copied = page.run("""() => {
        const copy = app.graph.nodes[0].clone();
        app.graph.add(copy);
        return copy.widgets[0].value;
    }""")
    assert copied == drawn
    inside = page.run("""async () => {
        const { subgraph } = app.graph.convertToSubgraph(new Set([app.graph.nodes[1]]));
        const { output } = await app.graphToPrompt();
        return Object.values(output).map((entry) => entry.inputs.trajectories);
    }""")
    assert inside == [drawn, drawn]


def test_the_hosts_undo_gives_back_the_drawing(page):
    node, stage = open_editor(page)
    stage.tool("Add a point that stays")
    for place in [(100, 100), (200, 200)]:
        stage.click(*place)
    drawn = page.value(node, "trajectories")
    assert len(json.loads(drawn)["tracks"]) == 2
    page.run("() => document.activeElement?.blur()")
    tracks = "() => JSON.parse(app.graph.nodes[0].widgets[0].value).tracks.length"
    page.page.keyboard.press("Control+z")
    page.page.wait_for_function(f"({tracks})() === 1")
    page.page.keyboard.press("Control+y")
    page.page.wait_for_function(f"({tracks})() === 2")
    assert page.run("() => app.graph.nodes[0].widgets[0].value") == drawn


def test_a_drawing_is_copied_to_another_tab(page):
    _, stage = open_editor(page)
    stage.tool("Add a point that stays")
    stage.click(150, 350)
    drawn = page.run("() => app.graph.nodes[0].widgets[0].value")
    page.run("""async () => {
        app.canvas.selectNode(app.graph.nodes[0]);
        app.canvas.copyToClipboard();
        await app.extensionManager.command.execute("Comfy.NewBlankWorkflow");
        app.canvas.pasteFromClipboard();
    }""")
    page.page.wait_for_function("app.graph.nodes.length === 1")
    assert page.run("() => app.graph.nodes[0].widgets[0].value") == drawn


def test_the_page_queues_the_drawing_and_the_video_appears(page):
    node, stage = open_editor(page)
    stage.tool("Draw a path point by point")
    for place in PATH:
        stage.click(*place)
    page.run(
        """(node) => {
        const make = (type, values) => {
            const made = LiteGraph.createNode(type);
            app.graph.add(made);
            for (const [name, value] of Object.entries(values)) {
                made.widgets.find((widget) => widget.name === name).value = value;
            }
            return made;
        };
        const tracks = app.graph.getNodeById(node);
        const map = make("ChoreoFlowMap", { frames: 4, width: 64, height: 64 });
        const preview = make("ChoreoFlowMapPreview", {});
        const video = make("CreateVideo", { fps: 8 });
        const save = make("SaveVideo", { filename_prefix: "drawn" });
        tracks.connect(0, map, map.findInputSlot("trajectories"));
        tracks.connect(0, preview, preview.findInputSlot("trajectories"));
        map.connect(0, preview, preview.findInputSlot("flow_map"));
        preview.connect(1, video, video.findInputSlot("images"));
        video.connect(0, save, save.findInputSlot("video"));
    }""",
        node,
    )
    outputs = page.queue()
    files = [
        file
        for output in outputs.values()
        for file in output.get("images", [])
        if file["filename"].endswith("mp4")
    ]
    assert len(files) == 1 and (Path(page.host.output) / files[0]["filename"]).stat().st_size > 0
    assert not page.errors
