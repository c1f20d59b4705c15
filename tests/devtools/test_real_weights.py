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
