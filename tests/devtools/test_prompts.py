"""API prompts: what is put into them, and the bar that follows them."""

import io
import json

import pytest
from choreographer.devtools import prompts, steps
from choreographer.devtools.progress import ProgressBar


def test_text_and_seeds_are_put_into_a_copy():
    prompt = {
        "1": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": "old", "clip": ["4", 1]},
            "_meta": {"title": "Prompt"},
        },
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad"}, "_meta": {"title": "Negative"}},
        "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 20}},
        "5": {"class_type": "RandomNoise", "inputs": {"noise_seed": 2}},
        "6": {"class_type": "KSampler", "inputs": {"seed": ["7", 0]}},
    }
    before = json.dumps(prompt)
    changed = prompts.with_seed(prompts.with_text(prompt, "new"), 99)
    assert json.dumps(prompt) == before
    assert changed["1"]["inputs"] == {"text": "new", "clip": ["4", 1]} and changed["2"] == prompt["2"]
    assert changed["3"]["inputs"] == {"seed": 99, "steps": 20} and changed["5"]["inputs"]["noise_seed"] == 99
    assert changed["6"] == prompt["6"]  # a link stays a link
    with pytest.raises(steps.StepError, match="no node of this workflow is titled 'Prompt'"):
        prompts.with_text({"2": prompt["2"]}, "new")


def test_an_unknown_workflow_names_those_there_are(tmp_path):
    (tmp_path / "one.json").write_text("{}")
    with pytest.raises(steps.StepError, match="(?s)no workflow 'two'.*one"):
        prompts.load("two", tmp_path)
    with pytest.raises(steps.StepError):
        prompts.load("../" + tmp_path.name + "/one", tmp_path)


def test_the_bar_counts_up_and_writes_plain_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    bar = ProgressBar(stream)
    for value in range(1, 9):
        bar("KSampler", value, 8)
    bar("VAE Decode", 0, 0)
    bar.finish()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5 and "8/8" in lines[-1] and "#" * 28 in lines[-1] and "KSampler" in lines[-1]
