"""The editor's workflows: complete, without overlap, and the same graphs as the API prompts."""

import ast
import json
from pathlib import Path

import pytest
from choreographer.devtools.layout import Box, arrange
from choreographer.devtools.make_workflows import convert, editor_file, public_twins, specs, widget_values

ROOT = Path(__file__).resolve().parents[2]
API = sorted((ROOT / "workflows" / "api").glob("**/*.json"))


def pair(path):
    twin = editor_file(path.relative_to(ROOT / "workflows" / "api").with_suffix("").as_posix())
    return json.loads(path.read_text(encoding="utf-8")), json.loads(twin.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", API, ids=lambda path: path.stem)
def test_the_twin_is_the_same_graph(path):
    prompt, graph = pair(path)
    nodes = {str(node["id"]): node for node in graph["nodes"] if node["type"] != "MarkdownNote"}
    assert {n: node["type"] for n, node in nodes.items()} == {n: e["class_type"] for n, e in prompt.items()}
    links = {link[0]: link for link in graph["links"]}
    for node_id, entry in prompt.items():
        node = nodes[node_id]
        by_name = {socket["name"]: socket for socket in node["inputs"]}
        assert node["title"] == entry["_meta"]["title"]
        for name, value in entry["inputs"].items():
            if isinstance(value, list):
                link = links.pop(by_name[name]["link"])
                assert link[1:3] == [int(value[0]), value[1]]
                assert node["inputs"][link[4]]["name"] == name and link[3] == int(node_id)
                assert link[0] in nodes[value[0]]["outputs"][value[1]]["links"]
            else:
                assert by_name[name]["link"] is None and value in node["widgets_values"]
    assert not links, "no link that the prompt lacks"
    assert graph["version"] == 0.4 and "workflowRendererVersion" not in graph["extra"]


@pytest.mark.parametrize("path", API, ids=lambda path: path.stem)
def test_nothing_overlaps_and_groups_hold_their_nodes(path):
    _, graph = pair(path)
    boxes = [(*node["pos"], *node["size"]) for node in graph["nodes"]]
    for i, (x, y, w, h) in enumerate(boxes):
        for a, b, c, d in boxes[:i]:
            assert x >= a + c + 40 or a >= x + w + 40 or y >= b + d + 40 or b >= y + h + 40
    for node, (x, y, w, h) in zip(graph["nodes"], boxes, strict=True):
        around = [
            g for g in graph["groups"]
            if g["bounding"][0] <= x and g["bounding"][1] <= y - 30
            and x + w <= g["bounding"][0] + g["bounding"][2] and y + h <= g["bounding"][1] + g["bounding"][3]
        ]  # fmt: skip
        assert len(around) == (node["type"] != "MarkdownNote")
    (note,) = (node for node in graph["nodes"] if node["type"] == "MarkdownNote")
    assert "Change first" in note["widgets_values"][0]


def test_twins_for_public_files_are_those_of_the_demo():
    for path, text in public_twins().items():
        assert path.read_text(encoding="utf-8") == text, "run `python -m devtools.make_workflows`"
        assert "choreographer_demo" not in text and "512" in text
    names = {path.stem for path in API}
    assert {path.stem for path in public_twins()} <= names


def test_every_node_of_the_pack_is_in_a_workflow():
    tree = ast.parse((ROOT / "nodes" / "__init__.py").read_text(encoding="ascii"))
    tables = [n.value for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Dict)]
    ids = {key.value for key in tables[0].keys}
    used = {entry["class_type"] for path in API for entry in json.loads(path.read_text("utf-8")).values()}
    assert ids and ids <= used, f"in no workflow: {sorted(ids - used)}"


INFO = {
    "CheckpointLoaderSimple": {
        "input": {"required": {"ckpt_name": [["a", "b"], {}]}, "optional": {"mask": ["MASK"]}},
        "output": ["MODEL"], "output_name": ["model"],
    },
    "KSamplerAdvanced": {
        "input": {"required": {
            "model": ["MODEL", {}], "noise_seed": ["INT", {"default": 3}], 
            "mode": ["COMBO", {"options": ["x", "y"]}],
            "text": ["STRING", {"multiline": True}], "cfg": ["FLOAT", {"default": 8.0}],
            "on": ["BOOLEAN", {"forceInput": True}],
        }},
        "input_order": {"required": ["cfg", "model", "noise_seed", "mode", "text", "on"]},
        "output": [], "output_name": [],
    },
}  # fmt: skip


def test_widgets_come_in_the_editor_s_order_with_defaults():
    spec = specs(INFO, "KSamplerAdvanced")
    assert widget_values(spec, {"noise_seed": 9, "text": ["1", 0]}) == [8.0, 9, "fixed", "x", ""]
    assert widget_values(specs(INFO, "CheckpointLoaderSimple"), {"ckpt_name": "b"}) == ["b"]


def test_a_prompt_is_converted_with_its_links():
    prompt = {
        "1": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "b"},
            "_meta": {"title": "One"},
        },
        "2": {"class_type": "KSamplerAdvanced", "inputs": {"model": ["1", 0]}, "_meta": {"title": "Two"}},
    }
    graph = convert(prompt, INFO, "text_to_video")
    one, two, note = graph["nodes"]
    assert graph["links"] == [[1, 1, 0, 2, 0, "MODEL"]] and one["outputs"][0]["links"] == [1]
    assert [socket["name"] for socket in two["inputs"]] == [
        "model",
        "on",
        "cfg",
        "noise_seed",
        "mode",
        "text",
    ]
    assert one["inputs"][0]["shape"] == 7 and note["id"] == graph["last_node_id"] == 3


def test_columns_follow_dependencies():
    boxes = {name: Box((100, 50), "g") for name in "abc"} | {"d": Box((100, 50), "h")}
    places, frames = arrange(boxes, [("a", "b"), ("b", "c"), ("a", "c"), ("d", "a")], ["g", "h"])
    assert places["a"][0] < places["b"][0] < places["c"][0] < places["d"][0]
    assert frames["g"][0] + frames["g"][2] < frames["h"][0]
