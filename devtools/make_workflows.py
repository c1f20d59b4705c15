"""Write the editor's workflows from the API prompts.

    python -m devtools.make_workflows [--url URL] [--check] [--thumbnails FOLDER]

The API prompt says what runs; a running host says which inputs are widgets. From both comes
`workflows/NAME.json`, so that the two cannot drift; API prompts for public files that are twins of the demo's
are made as well (`public_twins.py`). All of the editor's lie in one folder, where it lists them. `--check`
writes nothing and fails where a file is not what would be written.
"""

import argparse
import json
import sys
import urllib.request
from pathlib import Path

from .layout import Box, arrange
from .public_twins import PREFIX, WORDS, needed, twin
from .workflow_notes import DEMO, GROUPS, NOTES

ROOT = Path(__file__).resolve().parent.parent / "workflows"
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
SEEDS = ("seed", "noise_seed")
OPTIONAL_SHAPE = 7  # the editor draws optional inputs hollow
TITLE, SLOT, WIDGET, TEXT, PICTURE, MARGIN = 30, 22, 30, 130, 260, 16
NARROW, WIDE = 330, 420
EDITORS = {"ChoreoTrajectories": (460, 400), "ChoreoKeyframeTimeline": (520, 330)}  # in place of a text
PICTURES = {"SaveVideo", "PreviewImage", "PreviewAny", "LoadImage", "LoadVideo"}
COLOURS = ("#3f789e", "#8a8", "#b58b2a", "#88a", "#a1309b")


def specs(info: dict, kind: str) -> list[tuple[str, object, dict, bool]]:
    """(name, type, options, optional) of a node's inputs, in the order of its definition."""
    node = info[kind]
    found = []
    for part in ("required", "optional"):
        inputs = node["input"].get(part, {})
        for name in node.get("input_order", {}).get(part, inputs):
            entry = inputs[name]
            found.append((name, entry[0], entry[1] if len(entry) > 1 else {}, part == "optional"))
    return found


def is_widget(kind, options: dict) -> bool:
    """Whether the editor shows an input as a widget."""
    return (isinstance(kind, list) or kind in WIDGETS) and not options.get("forceInput")


def default(kind, options: dict):
    """The value that the editor gives a widget by itself."""
    choices = kind if isinstance(kind, list) else options.get("options", [])
    empty = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}
    return options.get("default", choices[0] if choices else empty.get(kind if isinstance(kind, str) else ""))


def widget_values(spec: list, inputs: dict) -> list:
    """Values of all widgets in the editor's order; a seed is followed by what happens to it after a run."""
    values = []
    for name, kind, options, _ in spec:
        if not is_widget(kind, options):
            continue
        given = inputs.get(name)
        values.append(default(kind, options) if given is None or isinstance(given, list) else given)
        if kind == "INT" and options.get("control_after_generate", name in SEEDS):
            values.append("fixed")
    return values


def size(spec: list, kind: str, outputs: int) -> tuple[int, int]:
    """Width and height that hold the node in either renderer."""
    sockets = sum(not is_widget(k, o) for _, k, o, _ in spec)
    widgets = [o for _, k, o, _ in spec if is_widget(k, o)]
    texts = sum(bool(o.get("multiline")) for o in widgets)
    controls = sum(bool(o.get("control_after_generate")) for o in widgets)
    height = TITLE + SLOT * max(sockets, outputs) + WIDGET * (len(widgets) - texts + controls) + TEXT * texts
    if kind in EDITORS:
        return EDITORS[kind][0], height - TEXT + EDITORS[kind][1] + MARGIN
    return WIDE if texts else NARROW, height + MARGIN + PICTURE * (kind in PICTURES)


def convert(prompt: dict, info: dict, name: str) -> dict:
    """An API prompt -> the editor's workflow, version 0.4."""
    nodes, links = {}, []
    for order, (node_id, entry) in enumerate(prompt.items()):
        nodes[node_id] = make_node(int(node_id), order, entry, info)
    for node_id, entry in prompt.items():
        for slot, socket in enumerate(nodes[node_id]["inputs"]):
            value = entry["inputs"].get(socket["name"])
            if isinstance(value, list):
                connect(links, nodes[value[0]], value[1], nodes[node_id], slot)
    boxes = {n: Box(tuple(node["size"]), group_of(node["type"])) for n, node in nodes.items()}
    edges = [(str(link[1]), str(link[3])) for link in links]
    places, frames = arrange(boxes, edges, list(GROUPS))
    for node_id, place in places.items():
        nodes[node_id]["pos"] = list(place)
    note = make_note(max(map(int, prompt)) + 1, len(prompt), note_of(name))
    return {
        "revision": 0,
        "last_node_id": note["id"],
        "last_link_id": len(links),
        "nodes": [*nodes.values(), note],
        "links": links,
        "groups": [make_group(i, *frame) for i, frame in enumerate(frames.items(), 1)],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def make_node(node_id: int, order: int, entry: dict, info: dict) -> dict:
    """A node of the editor, not yet linked; sockets come before the widgets' inputs, as the editor writes."""
    kind = entry["class_type"]
    spec, known = specs(info, kind), info[kind]
    sockets = [
        {"name": n, "type": k, "link": None, **({"shape": OPTIONAL_SHAPE} if optional else {})}
        for n, k, o, optional in spec
        if not is_widget(k, o)
    ]
    widgets = [
        {"name": n, "type": "COMBO" if isinstance(k, list) else k, "link": None, "widget": {"name": n}}
        for n, k, o, _ in spec
        if is_widget(k, o)
    ]
    outputs = [
        {"name": n, "type": "COMBO" if isinstance(k, list) else k, "links": []}
        for n, k in zip(known["output_name"], known["output"], strict=True)
    ]
    return {
        "id": node_id,
        "type": kind,
        "pos": [0, 0],
        "size": list(size(spec, kind, len(outputs))),
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": sockets + widgets,
        "outputs": outputs,
        "title": entry["_meta"]["title"],
        "properties": {"Node name for S&R": kind},
        "widgets_values": widget_values(spec, entry["inputs"]),
    }


def connect(links: list, source: dict, output: int, target: dict, slot: int) -> None:
    """Add a link on both ends and to the list."""
    number = len(links) + 1
    kind = source["outputs"][output]["type"]
    source["outputs"][output]["links"].append(number)
    target["inputs"][slot]["link"] = number
    links.append([number, source["id"], output, target["id"], slot, kind])


def group_of(kind: str) -> str:
    """The group that a node class belongs to."""
    return next(title for title, kinds in GROUPS.items() if kind in kinds)


def make_group(number: int, title: str, bounds: tuple) -> dict:
    """A titled frame behind nodes."""
    colour = COLOURS[list(GROUPS).index(title) % len(COLOURS)]
    return {
        "id": number,
        "title": title,
        "bounding": list(bounds),
        "color": colour,
        "font_size": 24,
        "flags": {},
    }


def note_of(name: str) -> str:
    """What the workflow `name` says to its user."""
    if name in NOTES:
        return NOTES[name]
    demo = name.removeprefix(PREFIX)
    prompt = json.loads((ROOT / "api" / f"{demo}.json").read_text(encoding="utf-8"))
    return NOTES[demo].removesuffix(DEMO) + needed(prompt)


def editor_file(name: str) -> Path:
    """Where the editor's workflow `name` lies, "public/..." as "public_...": only one folder is listed."""
    return ROOT / f"{name.replace('/', '_')}.json"


def public_twins() -> dict[Path, str]:
    """File and text of every API prompt that is made from the demo's."""
    folder = ROOT / "api"
    made = {}
    for name in WORDS:
        prompt = twin(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), name)
        made[folder / f"{PREFIX}{name}.json"] = json.dumps(prompt, indent=2) + "\n"
    return made


def make_note(node_id: int, order: int, text: str) -> dict:
    """What to change first, left of the graph."""
    node = {
        "id": node_id,
        "type": "MarkdownNote",
        "pos": [-480, 0],
        "size": [400, 420],
        "flags": {},
        "order": order,
        "mode": 0,
    }
    rest = {"inputs": [], "outputs": [], "title": "Read me", "properties": {}, "widgets_values": [text]}
    return {**node, **rest, "color": "#432", "bgcolor": "#653"}


def thumbnail(name: str, folder: Path) -> None:
    """Write workflows/NAME.jpg: four frames of the newest video NAME_(number) in `folder`, if any."""
    from PIL import Image

    from .contact_sheet import read_frames

    videos = sorted(folder.glob(f"**/{name}_[0-9]*.mp4"), key=lambda path: path.stat().st_mtime)
    if not videos:
        return
    frames = read_frames(videos[-1])[0]
    sheet = Image.new("RGB", (384, 384))
    for place in range(4):
        frame = frames[place * (len(frames) - 1) // 3].resize((191, 191))
        sheet.paste(frame, (193 * (place % 2), 193 * (place // 2)))
    sheet.save(ROOT / f"{name}.jpg", quality=80, optimize=True, progressive=True)


def main() -> int:
    """Write or check every workflow."""
    parser = argparse.ArgumentParser(
        prog="devtools.make_workflows", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8188", help="a running host that has the pack")
    parser.add_argument("--thumbnails", type=Path, help="folder of videos that the workflows saved")
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file differs")
    options = parser.parse_args()
    with urllib.request.urlopen(options.url + "/object_info") as reply:
        info = json.load(reply)
    differ = []
    for path, text in public_twins().items():
        if not options.check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            differ.append(f"api/{PREFIX}{path.stem}")
    for path in sorted((ROOT / "api").glob("**/*.json")):
        name = path.relative_to(ROOT / "api").with_suffix("").as_posix()
        text = json.dumps(convert(json.loads(path.read_text(encoding="utf-8")), info, name), indent=1) + "\n"
        target = editor_file(name)
        if options.check and (not target.exists() or target.read_text(encoding="utf-8") != text):
            differ.append(name)
        elif not options.check:
            target.write_text(text, encoding="utf-8")
        if options.thumbnails:
            thumbnail(editor_file(name).stem, options.thumbnails)
    print("differ: " + ", ".join(differ) if differ else "all workflows agree with their API prompts")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
