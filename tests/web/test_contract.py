"""What the editor's makers ask of packs, over every node of this one, in both editors and both renderers."""

import json
from pathlib import Path

import pytest
from choreographer.tests.web.page import EditorPage

ADD_ALL = """(kinds) => {
    kinds.forEach((kind, i) => {
        const node = LiteGraph.createNode(kind);
        node.pos = [(i % 10) * 640, Math.floor(i / 10) * 900];
        app.graph.add(node);
    });
}"""
CHANGE = """() => {
    const other = ({ type, value, options }) => {
        const values = typeof options?.values === "function" ? options.values() : options?.values;
        if (Array.isArray(values)) return values[values.length - 1] ?? value;
        if (typeof value === "boolean") return !value;
        const more = value + 1 <= (options?.max ?? Infinity);
        if (typeof value === "number") return more ? value + 1 : options.min;
        return typeof value === "string" && !type.startsWith("CHOREO_") ? value + " " : value;
    };
    const change = (node, widget) => {
        const wanted = other(widget);
        widget.value = wanted;
        return [node.type, widget.name, wanted, widget.value];
    };
    const fields = (node) => (node.widgets ?? []).filter((widget) => widget.type !== "button");
    return app.graph.nodes.flatMap((node) => fields(node).map((widget) => change(node, widget)));
}"""
MOUNTED = """() => app.graph.nodes.map((node) => {
    const root = document.querySelector(`[data-node-id="${node.id}"]`);
    const fields = root ? [...root.querySelectorAll("textarea, [aria-label]")] : [];
    const shown = [root?.textContent, ...fields.flatMap((f) => [f.placeholder, f.ariaLabel])].join(" ");
    const names = ({ name, label }) => [name, label ?? name, name.replaceAll("_", " ")];
    const hidden = (widget) => widget.hidden || widget.options?.hidden
      || widget.name === "control_after_generate";
    const visible = (node.widgets ?? []).filter((widget) => !hidden(widget));
    const mounted = (widget) => widget.type.startsWith("CHOREO_") || !root
        ? !widget.element || widget.element.isConnected : names(widget).some((name) => shown.includes(name));
    const lost = visible.filter((widget) => !mounted(widget)).map((widget) => widget.name);
    return { type: node.type, root: Boolean(root), lost };
})"""


def test_every_node_mounts_keeps_values_and_comes_back(every_page, pictures):
    page = every_page
    kinds = page.host.node_ids()
    page.run(ADD_ALL, kinds)
    page.zoom(0.16, (400, 700))
    page.page.wait_for_timeout(500)
    assert page.run("app.graph.nodes.length") == len(kinds) > 40
    for mounted in page.run(MOUNTED):
        assert mounted["root"] == (page.renderer == "vue"), mounted
        assert not mounted["lost"], mounted
    for kind, name, wanted, found in page.run(CHANGE):
        assert found == wanted, f"{kind}.{name}"
    first = page.serialize()
    page.load(first)
    again = page.serialize()
    for before, after in zip(first["nodes"], again["nodes"], strict=True):
        assert without_places(after) == without_places(before)
    page.page.screenshot(path=pictures / f"all-{page.frontend}-{page.renderer}.png")
    assert not page.errors


def without_places(node):
    """A node without what a renderer measures, and without an empty list of values."""
    return {key: value for key, value in node.items() if value != [] and key not in ("size", "pos", "order")}


def test_without_the_script_the_text_is_a_plain_field(browser, hosts):
    page = EditorPage(browser, hosts("shipped"), blocked="js/choreographer.js")
    try:
        page.begin("litegraph")
        text = json.dumps({"version": 1, "tracks": [{"points": [[0.5, 0.5]]}]})
        node = page.add("ChoreoTrajectories", trajectories=text)
        assert page.editor().count() == 0
        assert page.run("id => app.graph.getNodeById(id).widgets[0].inputEl.tagName", node) == "TEXTAREA"
        prompt = page.run("async () => (await app.graphToPrompt()).output")
        assert prompt[node]["inputs"]["trajectories"] == text
    finally:
        page.context.close()


@pytest.mark.parametrize("name", ["trajectory_preview", "keyframe_latents"])
def test_workflows_with_editors_come_back_as_they_were(every_page, name):
    page = every_page
    file = Path(__file__).resolve().parents[2] / "workflows" / f"{name}.json"
    workflow = json.loads(file.read_text(encoding="utf-8"))
    page.load(workflow)
    values = {
        node["id"]: node.get("widgets_values") for node in workflow["nodes"] if node["type"] != "MarkdownNote"
    }
    found = {node["id"]: node.get("widgets_values") for node in page.serialize()["nodes"]}
    for node, expected in values.items():
        if not isinstance(found[node], dict):
            assert (found[node] or [])[: len(expected)] == expected
    assert not page.errors
