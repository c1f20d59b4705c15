"""Every API prompt in workflows/api, end to end in a real ComfyUI on the demo family."""

from pathlib import Path

import pytest
from choreographer.devtools import prompts
from choreographer.devtools.contact_sheet import read_frames

ROOT = Path(__file__).resolve().parents[2]
COUNTS = ("frames", "batch_size", "length", "amount")
VIDEOS = {".mp4", ".webm"}


def upstream(prompt: dict, node: str):
    """The nodes that feed a node, nearest first, itself among them."""
    waiting, seen = [node], set()
    while waiting:
        current = waiting.pop(0)
        if current in seen:
            continue
        seen.add(current)
        yield prompt[current]
        waiting += [value[0] for value in prompt[current]["inputs"].values() if isinstance(value, list)]


def expected_frames(prompt: dict, node: str) -> int | None:
    """The number of frames that the nearest node before a saving node asks for."""
    for entry in upstream(prompt, node):
        for name in COUNTS:
            count = entry["inputs"].get(name)
            if isinstance(count, int) and count > 1:
                return count
    return None


def demo_files(prompt: dict) -> set[str]:
    """The demo weights that a prompt names."""
    values = (value for entry in prompt.values() for value in entry["inputs"].values())
    return {v for v in values if isinstance(v, str) and v.startswith("choreographer_demo") and "." in v}


def test_the_pack_offers_its_nodes(host):
    host.require_pack()


@pytest.mark.parametrize("name", prompts.names())
def test_workflow_runs(host, name):
    if not list((ROOT / "demo").glob("checkpoints/*.safetensors")):
        pytest.skip("the demo weights (demo/checkpoints/*.safetensors) are not here")
    prompt = prompts.load(name)
    absent = demo_files(prompt) - {path.name for path in (ROOT / "demo").glob("*/*.safetensors")}
    if absent:
        pytest.skip(f"demo weights are not here: {', '.join(sorted(absent))}")
    outputs = prompts.run(host, prompt)
    assert outputs, "the workflow has no output node"
    files = prompts.output_files(outputs, host.output)
    assert all(file.stat().st_size > 0 for file in files)
    for node, values in outputs.items():
        for video in prompts.output_files({node: values}, host.output):
            if video.suffix in VIDEOS:
                frames = read_frames(video)[0]
                assert len(frames) == (expected_frames(prompt, node) or len(frames))
                assert len(frames) > 1
                assert any(frame.getextrema() != ((0, 0),) * 3 for frame in frames), "all frames are black"
