"""The rules of the house that a program can check: who imports whom, and what no file may hold."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = {".git", ".venv", ".host", "node_modules", "output", "runs", "__pycache__"}
HOST_MODULES = {
    "comfy",
    "comfy_api",
    "comfy_extras",
    "comfy_execution",
    "nodes",
    "folder_paths",
    "server",
    "execution",
}
HOST_MODULES |= {"execution", "latent_preview", "node_helpers", "aiohttp"}
OUR_TOPS = {"choreographer", "core", "devtools", "tests"}
# the host brings these, so requirements.txt need not
FROM_THE_HOST = {
    "torch",
    "PIL",
    "numpy",
    "aiohttp",
    "av",
    "safetensors",
    "scipy",
    "transformers",
    "yaml",
    "tqdm",
}
IMPORT_NAMES = {"opencv-python-headless": "cv2"}
TEXTS = {".py", ".json", ".md", ".js", ".toml", ".txt", ".yaml", ".yml", ".sh"}
IMPORT_ALL = """
import importlib, sys, types
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {refused!r}:
            raise ImportError(f"core must not import {{name}}")
sys.meta_path.insert(0, Refuse())
pack = types.ModuleType("choreographer")
pack.__path__ = [{root!r}]
sys.modules["choreographer"] = pack
for name in {names!r}:
    importlib.import_module("choreographer." + name)
print("imported all")
"""


def files(*suffixes: str) -> list[Path]:
    """The repository's files with one of the suffixes, apart from what set-up makes."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        found += [Path(folder, name) for name in sorted(names) if Path(name).suffix in suffixes]
    return found


def part(path: Path) -> str:
    """The path inside the repository, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> list[str]:
    """The modules that a file imports absolutely, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append(node.module)
    return found


def pack_files(*rooms: str) -> list[Path]:
    """Python files of the pack itself: `core/`, `nodes/` and the entry point."""
    return [path for path in files(".py") if part(path).startswith(rooms or ("core/", "nodes/", "__init__"))]


def test_every_module_of_core_imports_where_there_is_no_comfyui(tmp_path):
    names = [part(path)[:-3].replace("/", ".").removesuffix(".__init__") for path in pack_files("core/")]
    names = [name for name in names if not name.endswith("__main__")]  # importing one runs a command
    assert names
    code = IMPORT_ALL.format(refused=HOST_MODULES, root=str(ROOT), names=names)
    variables = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COMFYUI_PATH")
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=variables, capture_output=True, text=True
    )
    assert done.stdout.strip() == "imported all", done.stderr


def test_the_refusal_above_can_refuse(tmp_path):
    code = (
        IMPORT_ALL.format(refused=("json",), root=str(ROOT), names=[])
        + "sys.modules.pop('json', None); import json"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "core must not import json" in done.stderr


def test_core_names_no_host_module():
    bad = {part(path): imports(path) for path in pack_files("core/")}
    bad = {path: [n for n in names if n.split(".")[0] in HOST_MODULES] for path, names in bad.items()}
    assert not {path: names for path, names in bad.items() if names}


def test_only_nodes_host_touches_the_host_beyond_its_public_interface():
    internal = HOST_MODULES - {"comfy_api"}
    bad = {
        part(path): name
        for path in pack_files()
        if not part(path).startswith("nodes/host/")
        for name in imports(path)
        if name.split(".")[0] in internal
    }
    assert not bad


def test_the_pack_imports_itself_only_relatively():
    bad = {part(p): name for p in pack_files() for name in imports(p) if name.split(".")[0] in OUR_TOPS}
    bad |= {part(p): name for p in pack_files() for name in imports(p) if name.startswith("nodes.")}
    assert not bad


def test_core_does_not_import_upwards():
    """`from ...nodes import x` inside core climbs out of it: count the dots."""
    bad = []
    for path in pack_files("core/"):
        depth = len(path.relative_to(ROOT).parts) - 1  # 1 for core/x.py: one dot is core itself
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level > depth:
                bad.append(f"{part(path)}:{node.lineno}")
    assert not bad


def test_every_other_package_is_required_or_comes_with_the_host():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [re.split(r"[^\w.-]", line)[0] for line in lines if line and not line.startswith("#")]
    known = {IMPORT_NAMES.get(name, name) for name in names} | FROM_THE_HOST | HOST_MODULES
    bad = {}
    for path in pack_files():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:  # what runs at import time; an import inside a function may be optional
            tops = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            tops += [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            for top in {name.split(".")[0] for name in tops} - known - set(sys.stdlib_module_names):
                bad[part(path)] = top
    assert not bad


def test_requirements_and_pyproject_name_the_same_packages():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = json.loads(re.search(r"^dependencies = (\[.*\])$", text, re.M)[1])
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(listed) == sorted(line for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("room", ["core", "nodes", "devtools", "tests", "."])
def test_python_files_are_ascii(room):
    paths = [
        path for path in files(".py") if path.relative_to(ROOT).parts[0] == room or path.parent == ROOT / room
    ]
    assert paths
    assert not [part(path) for path in paths if not path.read_bytes().isascii()]


def test_no_file_names_a_place_of_one_machine():
    homes = "|".join(("work", "root", "home", "Users", "tmp"))
    place = re.compile(rf"(?<![\w.$~}}/-])/({homes})/\w|\b[A-Z]:\\\\?Users")
    bad = []
    for path in files(*TEXTS):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if place.search(line):
                bad.append(f"{part(path)}:{number}: {line.strip()[:80]}")
    assert not bad


def test_dev_py_and_what_it_imports_need_only_the_standard_library():
    """On a fresh machine nothing else is there yet."""
    code = (
        "import sys; sys.path.insert(0, '.'); import dev; "
        "print([n for n in sys.modules if n.split('.')[0] not in sys.stdlib_module_names "
        "and n.split('.')[0] not in ('dev', 'devtools', '__main__')])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
