"""The published code on weights that follow from their names: its numbers are ours, not those of others."""

import subprocess
import sys
from pathlib import Path

import pytest
from choreographer.tests.image_prompt.conftest import GOLDEN
from safetensors import safe_open
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
# file, what to change in its copy, what then must fail
CHANGES = {
    "b1_videobooth_injection_attention": ("f5.exemplar", lambda x: x.flip(1) * 1.1, "f5.v0_new, f5.y"),
    "b3_videobooth_transformer3d_exemplar": ("exemplar", lambda x: x.flip(2), "exemplar_y, y"),
    "b4_videobooth_tiny_unet_cfg": ("eps_cfg4_first_half", lambda x: x.roll(1, 1), "eps_cfg4_first_half"),
    "b5_videobooth_tiny_unet_nowm": ("exemplar_t", lambda x: x.flip(2), "eps_cond"),
    "c1_videobooth_mapper": ("emb3", lambda x: x.flip(1), "tokens"),
    "c1b_clip_vision_indexing": ("hidden_states.3", lambda x: x * 1.01, "hidden_states.3"),
    "c2_word_replacement": (
        "three_token_word.inj",
        lambda x: x.flip(1),
        "three_token_word.inputs_embeds_after, three_token_word.last_hidden",
    ),
    "h_position_encoding_definition": ("video_C16_4x3_f3", lambda x: x.flip(0), "video_C16_4x3_f3"),
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """What the golden command says of every file and of a changed copy of it."""
    folder = tmp_path_factory.mktemp("golden")
    for name, (key, change, _) in CHANGES.items():
        (folder / f"{name}.safetensors").symlink_to(GOLDEN / f"{name}.safetensors")
        with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
            about = file.metadata()
        data = load_file(GOLDEN / f"{name}.safetensors")
        data[key] = change(data[key]).contiguous()
        save_file(data, folder / f"{name}_changed.safetensors", metadata=about)
    command = [sys.executable, "-m", "devtools.golden", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)


@pytest.mark.parametrize("name", CHANGES)
def test_published_numbers_hold_and_others_do_not(lines, name):
    assert lines[f"{name}.safetensors"].endswith("holds")
    assert lines[f"{name}_changed.safetensors"].endswith(f"FAILS: {CHANGES[name][2]}")
