"""The environment of every command: a Python with torch, a ComfyUI, the pack and demo models linked in."""

import sys
from dataclasses import dataclass
from pathlib import Path

from .host_files import host_version, own_comfyui, unpack_step
from .links import link_pack, write_model_paths
from .packages import own_python, packages_step, requirement_lines, torch_step, venv_python, venv_step
from .steps import StepError, complete, only_one, say
from .upscaler import upscaler_step

ROOT = Path(__file__).resolve().parent.parent
VENV, HOME = ROOT / ".venv", ROOT / ".host"
FETCHED = HOME / "models"  # what set-up fetches for the demo workflows
NOT_OF_THE_HOST = frozenset({"torch", "torchaudio"})  # torch is a step of its own, and audio is not needed
IMPORTS = "import aiohttp, av, cv2, einops, kornia, numpy, PIL, requests, safetensors.torch, torchsde, yaml"


@dataclass(frozen=True)
class Environment:
    """A Python, a ComfyUI folder, the pack in its custom_nodes, the file that shows it the demo models."""

    python: Path
    comfy: Path
    pack: Path
    model_paths: Path


def prepare(tests: bool = False) -> Environment:
    """Complete what is missing (nothing on a second run) and return the environment.

    tests: install the requirements of the tests and benchmarks as well.

    Raises:
        StepError: a step failed; it names the command and the remedy.
    """
    if sys.version_info < (3, 10):
        raise StepError(
            "Python",
            f"this is Python {sys.version.split()[0]}, 3.10 or newer is needed",
            "Run dev.py with a newer Python.",
        )
    theirs = own_comfyui()
    comfy = theirs or HOME / "comfyui"
    with only_one(HOME / "setup.lock"):
        python = theirs and own_python(theirs)
        if python:
            install_into(
                python, HOME / "stamps" / "your-python", requirement_lines(ROOT / "requirements.txt"), tests
            )
        else:
            python = make_our_own(comfy, unpacked=theirs is not None, tests=tests)
        pack = link_pack(ROOT, comfy / "custom_nodes")
        complete(upscaler_step(python, HOME))
        model_paths = write_model_paths(ROOT / "demo", HOME / "demo_models.yaml", FETCHED)
    if theirs:
        version = ".".join(map(str, host_version(comfy) or ("of unknown version",)))
        say(
            f"using your ComfyUI {version} at {comfy}, with {python}; the pack is linked there as {pack.name}"
        )
    return Environment(python, comfy, pack, model_paths)


def make_our_own(comfy: Path, unpacked: bool, tests: bool) -> Path:
    """Complete `.venv`, and the host unless it is the user's; the Python of `.venv`."""
    python, stamps = venv_python(VENV), VENV / "stamps"
    complete(venv_step(VENV))
    complete(torch_step(python, stamps))
    if not unpacked:
        complete(unpack_step(python, HOME))
    needs = requirement_lines(comfy / "requirements.txt", NOT_OF_THE_HOST) + ["requests"]
    install_into(python, stamps, needs + requirement_lines(ROOT / "requirements.txt"), tests, IMPORTS)
    return python


def install_into(python: Path, stamps: Path, needs: list[str], tests: bool, imports: str = "") -> None:
    """Complete the packages of an environment: `needs`, and those of the tests where asked."""
    ours = python == venv_python(VENV)
    complete(packages_step("packages", python, needs, stamps, ours, imports))
    if tests:
        wanted = requirement_lines(ROOT / "requirements-test.txt")
        complete(packages_step("test packages", python, wanted, stamps, ours))
