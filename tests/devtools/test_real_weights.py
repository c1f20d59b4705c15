"""docs/REAL_WEIGHTS.md names every public workflow, its files, and the folders they are loaded from."""

import json
import re

import pytest
from choreographer.devtools.pack import ROOT

PAGE = (ROOT / "docs" / "REAL_WEIGHTS.md").read_text(encoding="utf-8")
PUBLIC = sorted((ROOT / "workflows" / "api" / "public").glob("*.json"))
FILE = re.compile(r"[\w./-]+\.(safetensors|ckpt|pt|pth|bin|latent|png|jpg|mp4|webm)")


def files(path):
    """Names of the files that an API prompt asks for."""
    prompt = json.loads(path.read_text(encoding="utf-8"))
    values = [value for node in prompt.values() for value in node["inputs"].values()]
    return {value for value in values if isinstance(value, str) and FILE.fullmatch(value)}


def needs(name):
    """The page's line of a workflow in the table of what each needs."""
    part = PAGE.split("## What each workflow needs")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if f"`public_{name}`" in line]
    assert len(lines) == 1, f"public_{name} has {len(lines)} lines in the table of what each workflow needs"
    return lines[0]


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.stem)
def test_each_workflow_has_its_line_with_all_its_files(path):
    line, common = needs(path.stem), {"v1-5-pruned-emaonly-fp16.safetensors"}
    told = {found[0] for found in re.finditer(FILE, line.split("|")[2])}
    assert told == files(path) - common


def test_every_file_name_appears_with_where_it_goes():
    wanted = set().union(*map(files, PUBLIC))
    assert len(PUBLIC) >= 9 and len(wanted) >= 15
    table = PAGE.split("## Which file goes where")[1].split("\n## ")[0]
    missing = {name for name in wanted if f"`{name}`" not in table}
    assert not missing


def test_no_workflow_is_named_that_is_not_there():
    named = set(re.findall(r"`public_(\w+)`", PAGE))
    assert named == {path.stem for path in PUBLIC}


def inputs(name, kind):
    """Inputs of the nodes of one class in a public workflow."""
    prompt = json.loads((ROOT / "workflows" / "api" / "public" / f"{name}.json").read_text(encoding="utf-8"))
    return [node["inputs"] for node in prompt.values() if node["class_type"] == kind]


def test_files_of_yours_are_those_that_a_workflow_writes():
    prefixes = {}
    for path in PUBLIC:
        for node in json.loads(path.read_text(encoding="utf-8")).values():
            kept = node["inputs"].get("save_prefix")
            if node["class_type"] == "SaveLatent":
                prefixes.setdefault(path.stem, set()).add(
                    f"{node['inputs']['filename_prefix']}_00001_.latent"
                )
            elif kept:
                prefixes.setdefault(path.stem, set()).add(f"{kept}_00001_.safetensors")
    lines = re.findall(r"`([\w.]+)`[^`\n]*(?:`\w+` \| [^|]+ \| )?\(?yours: from `public_(\w+)`", PAGE)
    assert len(lines) == 3
    for file, name in lines:
        assert file in prefixes.get(name, ()), f"public_{name} does not write {file}"


def test_a_tuned_clip_is_sampled_along_the_schedule_that_it_was_inverted_along():
    (scheduler,) = inputs("tune_on_video", "BasicScheduler")
    samplers = inputs("tune_on_video", "KSamplerAdvanced") + inputs("tuned_video", "KSamplerAdvanced")
    assert len(samplers) == 3 and scheduler["denoise"] == 1.0
    for sampler in samplers:
        assert (sampler["scheduler"], sampler["steps"]) == (scheduler["scheduler"], scheduler["steps"])
        assert (sampler["sampler_name"], sampler["cfg"]) == ("ddim", 12.5)
    (tuning,) = inputs("tune_on_video", "ChoreoTuneOnVideo")
    assert tuning["steps"] >= 300 and tuning["learning_rate"] == 3e-5
