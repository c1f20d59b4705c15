"""`dev.py golden` on fusion: the published kernels, and clips of other names, lengths and keyframes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from choreographer.tests.fusion.clips import DATA, golden_clip

ROOT = Path(__file__).resolve().parents[2]


def golden(folder):
    """Run the golden command on a folder."""
    command = [sys.executable, "-m", "devtools.golden", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_kernels_and_schedule_are_the_published_ones(tmp_path):
    for name in ("kernels.npz", "schedule.json"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    done = golden(tmp_path)
    assert done.returncode == 0 and "2 hold, 0 fail" in done.stdout, done.stdout + done.stderr
    arrays = dict(np.load(DATA / "kernels.npz"))
    arrays["patch_error_random_p7"][0, 3, 3] += 1
    np.savez(tmp_path / "kernels.npz", **arrays)
    assert "FAILS: patch_error_random_p7" in golden(tmp_path).stdout


@pytest.fixture
def other_clip(tmp_path):
    """A folder with a shorter clip; what the reference reached on it is the flickering input."""
    clip = {name: (frames[3:9] * 255).round().byte().numpy() for name, frames in golden_clip().items()}
    np.savez(tmp_path / "seqB_inputs.npz", **clip, keyframes=np.array([0, 4]))
    np.savez(tmp_path / "seqB_balanced.npz", w4_intended=clip["style"], w2_shipped=clip["style"])
    named = {"interp_cleankeys": clip["style"], "interp_flickerkeys": clip["style"]}
    np.savez(tmp_path / "seqB_interp.npz", **named, keyframes=np.array([0, 4]))
    return tmp_path


def test_another_clip_is_measured_line_by_line(other_clip):
    done = golden(other_clip)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "clean guide, window 4, PSNR: ",
        "self-guided, window 4, mean flow: ",
        "window and keyframes: keyframes bit-exact: 2 (goal at least 2)  holds",
        "clean guide against w2_shipped: ",
        "interp_cleankeys, other frames: ",
    ):
        assert line in done.stdout


def test_a_goal_that_is_missed_fails(other_clip):
    arrays = dict(np.load(other_clip / "seqB_inputs.npz"))
    np.savez(other_clip / "seqB_balanced.npz", w4_intended=arrays["truth"])
    done = golden(other_clip)
    assert done.returncode == 1
    assert "seqB_balanced.npz: 0 of 1 hold  FAILS: clean guide against w4_intended" in done.stdout
