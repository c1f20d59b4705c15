"""The harness itself on a real server: progress, files, refusals, failures, nothing left behind."""

import dataclasses
import os
import subprocess
import sys
import time

import av
import pytest
from choreographer.devtools import prompts
from choreographer.devtools.contact_sheet import choose, draw_sheet, read_frames
from choreographer.devtools.host import Host, free_port
from choreographer.devtools.steps import StepError

FRAMES = 6
STOCK = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 48, "batch_size": FRAMES, "color": 3368601},
        "_meta": {"title": "Frames"},
    },
    "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
    "3": {
        "class_type": "SaveVideo",
        "inputs": {"video": ["2", 0], "filename_prefix": "stock", "format": "mp4", "codec": "h264"},
    },
}
SLOW_NODE = """
import os, time
import comfy.utils

class Slow:
    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = (), "run", True, "test"
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"what": ("STRING", {})}}
    def run(self, what):
        bar = comfy.utils.ProgressBar(3)
        for i in range(3):
            bar.update(1)
        if what == "fail":
            raise ValueError("a sentence of the node")
        if what == "end":
            os._exit(7)
        while what == "hang":
            time.sleep(0.1)
        return {"ui": {"text": ["x" * 100_000]}}

NODE_CLASS_MAPPINGS = {"TestSlow": Slow}
"""


@pytest.fixture
def slow_host(environment, tmp_path):
    """A server of its own with a node that fails, ends or hangs on demand."""
    nodes = tmp_path / "custom_nodes"
    nodes.mkdir()
    (nodes / "slow.py").write_text(SLOW_NODE, encoding="utf-8")
    paths = tmp_path / "paths.yaml"
    paths.write_text(f"test:\n  custom_nodes: '{nodes}'\n", encoding="utf-8")
    with Host(dataclasses.replace(environment, model_paths=paths), tmp_path / "run") as running:
        yield running


def slow(what: str) -> dict:
    return {"1": {"class_type": "TestSlow", "inputs": {"what": what}, "_meta": {"title": "Slow"}}}


def test_a_video_of_stock_nodes_is_written_and_drawn(host):
    outputs = prompts.run(host, STOCK)
    (video,) = prompts.output_files(outputs, host.output)
    frames, rate = read_frames(video)
    assert len(frames) == FRAMES and frames[0].size == (64, 48) and rate == 8
    sheet = draw_sheet(frames, "a title").convert("RGB")
    colors = {color for _, color in sheet.getcolors(1 << 20)}
    asked = (0x33, 0x66, 0x99)
    assert any(all(abs(a - b) < 12 for a, b in zip(color, asked, strict=True)) for color in colors)
    with av.open(str(video)) as file:
        assert file.streams.video[0].codec_context.name == "h264"


def test_a_refused_prompt_says_which_node_and_why(host):
    wrong = {**STOCK, "1": {**STOCK["1"], "inputs": {**STOCK["1"]["inputs"], "width": -5}}}
    with pytest.raises(StepError, match=r"'Frames'.*smaller than min.*width"):
        prompts.run(host, wrong)


def test_progress_large_messages_and_a_failing_node(slow_host):
    seen = []
    outputs = prompts.run(slow_host, slow("work"), lambda *event: seen.append(event))
    assert outputs["1"]["text"] == ["x" * 100_000]
    assert ("Slow", 3, 3) in seen
    with pytest.raises(StepError, match="'Slow' failed: a sentence of the node") as failure:
        prompts.run(slow_host, slow("fail"))
    assert "raise ValueError" in failure.value.block()


def test_a_host_that_ends_in_mid_run_is_reported_with_its_log(slow_host):
    with pytest.raises(StepError, match="ComfyUI ended while the workflow ran") as failure:
        prompts.run(slow_host, slow("end"))
    assert "got prompt" in failure.value.block()


def test_no_process_is_left_when_the_parent_is_killed(environment, tmp_path):
    """SIGKILL gives the parent no chance to stop its host; the host must notice by itself."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from devtools.host import Host; from devtools.setup import Environment\n"
        f"environment = Environment(*map(Path, {[str(part) for part in vars(environment).values()]!r}))\n"
        f"host = Host(environment, Path({str(tmp_path)!r}))\n"
        "host.start(); print(host.process.pid, flush=True); time.sleep(600)\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        child = int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and alive(child):
        time.sleep(0.1)
    assert not alive(child)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("count", "most", "chosen"), [(3, 64, [0, 1, 2]), (100, 3, [0, 50, 99])])
def test_a_sheet_shows_the_first_and_the_last_frame(count, most, chosen):
    assert choose(count, most) == chosen


def test_a_wanted_port_that_is_taken_is_refused(host):
    with pytest.raises(StepError, match=str(host.port)):
        free_port(host.port)
