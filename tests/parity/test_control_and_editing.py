"""The published numbers of control, tuning and atlases, through the command that checks a folder of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "data" / "golden" / "control_and_editing"
INVERSION = "e_ddim_inversion.safetensors"


def golden(folder, comfy_path):
    """Run the golden command on a folder."""
    command = [sys.executable, "-m", "devtools.golden", str(folder)]
    variables = {**os.environ, "COMFYUI_PATH": str(comfy_path)}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


@pytest.fixture(scope="module")
def checked(comfy_path, tmp_path_factory):
    """What the command says of all files, and of one in which a number has changed."""
    folder = tmp_path_factory.mktemp("golden")
    for path in GOLDEN.iterdir():
        shutil.copy(path, folder)
    with safe_open(GOLDEN / INVERSION, "pt") as file:
        about = file.metadata()
    data = load_file(GOLDEN / INVERSION)
    data["inv_50_after_25"][0, 0, 0, 0, 0] += 0.01
    save_file(data, folder / "e_ddim_inversion_changed.safetensors", metadata=about)
    return golden(folder, comfy_path).stdout


def test_every_file_holds(checked):
    for path in GOLDEN.iterdir():
        line = next(line for line in checked.splitlines() if line.startswith(f"{path.name}: "))
        assert line.endswith("holds"), line


def test_a_changed_number_does_not(checked):
    assert "FAILS: inv_50_after_25" in checked
