"""The pack's templates: in the template browser with thumbnails, opened whole and without overlap."""

import json
import os
from pathlib import Path

import pytest
from choreographer.devtools.public_twins import WORDS

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
TWINS = {f"public_{name}" for name in WORDS}  # the same graphs as the demo's, with other values
PACK = "ComfyUI-Choreographer"  # the folder's name in custom_nodes
SLACK = 2  # pixels of the screen by which a measured frame may be off
BOXES = """() => app.graph.nodes.map((node) => {
    const root = document.querySelector(`[data-node-id="${node.id}"]`);
    const { x, y, width, height } = root?.getBoundingClientRect() ?? {};
    const { scale } = app.canvas.ds;
    const [wide, high] = node.size.map((side) => side * scale);
    const title = LiteGraph.NODE_TITLE_HEIGHT * scale;
    const [left, top] = app.canvas.ds.convertOffsetToCanvas(node.pos);
    return [node.title, ...(root ? [x, y, width, height] : [left, top - title, wide, high + title])];
})"""


def read(name):
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def values_of(workflow):
    """What the widgets of each node hold; of notes nothing, since an editor may keep them otherwise."""
    return {
        node["id"]: node.get("widgets_values") or []
        for node in workflow["nodes"]
        if node["type"] != "MarkdownNote"
    }


def overlapping(boxes):
    """Titles of the nodes that cover each other."""
    return [
        (name, other)
        for i, (name, x, y, w, h) in enumerate(boxes)
        for other, a, b, c, d in boxes[:i]
        if min(x + w, a + c) - max(x, a) > SLACK and min(y + h, b + d) - max(y, b) > SLACK
    ]


def test_every_template_opens_whole_and_nothing_overlaps(page, pictures):
    for name in sorted(set(NAMES) - TWINS):
        workflow = read(name)
        page.load(workflow)
        page.show_all()
        saved = page.serialize()
        found = values_of(saved)
        assert len(saved["nodes"]) == len(workflow["nodes"]) and len(saved["links"]) == len(workflow["links"])
        for node, expected in values_of(workflow).items():
            assert isinstance(found[node], dict) or found[node][: len(expected)] == expected, (name, node)
        for _ in range(20):  # nodes are placed and measured over some frames
            if overlapping(page.run(BOXES)):
                page.settle()
        assert overlapping(page.run(BOXES)) == [], name
        if "CHOREO_PICTURES" in os.environ:  # half of the time that this test takes
            page.picture_of_graph(pictures / f"template-{name}-{page.frontend}.png")
    assert not page.errors


@pytest.mark.parametrize("frontend", ["shipped", "newer"])
def test_the_template_browser_lists_them_with_thumbnails(pages, frontend, pictures):
    page = pages(frontend, "litegraph")
    page.run("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.page.get_by_text(PACK, exact=True).first.click()
    cards = page.page.locator("[data-testid^=template-workflow-]")
    cards.first.locator("img").first.wait_for()
    page.page.wait_for_load_state("networkidle")
    page.page.screenshot(path=pictures / f"templates-{frontend}.png")
    while cards.count() < len(NAMES):  # more come when the last one is seen
        seen = cards.count()
        cards.last.scroll_into_view_if_needed()
        page.until(
            lambda seen=seen: cards.count() > seen, f"only {seen} of {len(NAMES)} templates are listed"
        )
    listed = cards.evaluate_all("cards => cards.map((card) => card.dataset.testid.split('-').pop())")
    assert sorted(listed) == NAMES
    assert [name for name in NAMES if not (WORKFLOWS / f"{name}.jpg").is_file()] == [], "no thumbnail"
    page.page.get_by_test_id("template-workflow-text_to_video").click()
    nodes = len(read("text_to_video")["nodes"])
    page.page.wait_for_function("count => app.graph.nodes.length === count", arg=nodes)
    assert not page.errors, "all thumbnails that came into view were found"
