"""Python packages of an environment: the virtual environment itself, torch, and lists of requirements.

`verify.py`, run inside the environment, says what is missing or damaged; pip is asked only then.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .steps import Step, StepError, run_command

TORCH = "2.13.0"
REMEDY = (
    "Check the network and the free disk space, then run the same command again; finished steps are kept."
)
VERIFY = Path(__file__).with_name("verify.py")


def venv_python(venv: Path) -> Path:
    """The Python of a virtual environment, on this operating system."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def own_python(comfy: Path) -> Path | None:
    """The Python with torch of a user's ComfyUI: `venv`, `.venv` or the portable build's, in or beside it."""
    for folder in (comfy, comfy.parent):
        for python in (
            venv_python(folder / "venv"),
            venv_python(folder / ".venv"),
            folder / "python_embeded" / "python.exe",
        ):
            if python.is_file() and succeeds(
                [python, "-c", "import importlib.metadata as m; m.version('torch')"]
            ):
                return python
    return None


def requirement_lines(path: Path, without: frozenset[str] = frozenset()) -> list[str]:
    """The requirements of a file, comments and options left out, and the packages named in `without`."""
    lines = [
        re.split(r"(?:^|\s)#", line)[0].strip() for line in path.read_text(encoding="utf-8").splitlines()
    ]
    lines = [line for line in lines if line and not line.startswith("-")]
    return [line for line in lines if re.split(r"[^A-Za-z0-9_.-]", line)[0].lower() not in without]


def answer(command: list[object]) -> subprocess.CompletedProcess | None:
    """Run a short command for its output; None when it cannot be started or hangs for a minute."""
    try:
        return subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def succeeds(command: list[object]) -> bool:
    """Whether a short command ends with exit code 0."""
    done = answer(command)
    return done is not None and done.returncode == 0


def venv_problem(venv: Path) -> str | None:
    """What is wrong with a virtual environment; None when its Python runs, is new enough, and has a pip."""
    python = venv_python(venv)
    if not python.is_file():
        return f"there is no Python in {venv.name}"
    done = answer([python, "-c", "import sys; assert sys.version_info >= (3, 10); print(sys.prefix)"])
    if done is None or done.returncode != 0:
        return f"the Python in {venv.name} does not run, or is older than 3.10"
    if not os.path.samefile(done.stdout.strip(), venv):
        return f"{venv.name} was made for another folder"
    if not succeeds([python, "-c", "import pip"]):
        return f"the Python in {venv.name} has no pip"
    return first_problem(python, ["pip"])


def venv_step(venv: Path) -> Step:
    """The step that makes the virtual environment; a sound one is kept, a broken one is made anew."""

    def make() -> None:
        if venv_problem(venv):
            run_command(
                "virtual environment",
                [sys.executable, "-m", "venv", "--clear", venv],
                "Install Python's venv module (Debian, Ubuntu: apt-get install python3-venv), and run again.",
            )

    return Step(
        "virtual environment",
        venv / "stamps" / "venv.json",
        {"python": "3.10 or newer"},
        lambda: venv_problem(venv),
        make,
        REMEDY,
    )


def nvidia_gpu() -> bool:
    """Whether an NVIDIA driver answers and lists a GPU."""
    done = answer(["nvidia-smi", "-L"]) if shutil.which("nvidia-smi") else None
    return done is not None and done.returncode == 0 and "GPU" in done.stdout


def torch_step(python: Path, stamps: Path) -> Step:
    """The step that installs torch. Where there is a GPU, `===` asks for the plain build, not a CPU one."""
    spec = f"torch==={TORCH}" if nvidia_gpu() else f"torch=={TORCH}"

    def make() -> None:
        repair(python, [spec])
        run_command("torch", [python, "-m", "pip", "install", spec], REMEDY)
        run_command("torch", [python, "-c", "import torch; torch.ones(2, 2) @ torch.ones(2, 2)"], REMEDY)

    return Step(
        "torch", stamps / "torch.json", {"torch": spec}, lambda: first_problem(python, [spec]), make, REMEDY
    )


def packages_step(
    name: str, python: Path, needs: list[str], stamps: Path, ours: bool, imports: str = ""
) -> Step:
    """A step that installs a list of requirements, with torch held at the version that is there.

    ours: the environment is the pack's own, so damaged packages may be removed; a user's are only reported.
    """
    constraints = stamps / "constraints.txt"

    def make() -> None:
        constraints.parent.mkdir(parents=True, exist_ok=True)
        constraints.write_text("\n".join(held_versions(python)) + "\n", encoding="utf-8")
        if ours:
            repair(python, needs)
        run_command(name, [python, "-m", "pip", "install", "-c", constraints, *needs], REMEDY)
        if imports:
            run_command(name, [python, "-c", imports], REMEDY)

    return Step(
        name,
        stamps / f"{name.replace(' ', '-')}.json",
        {"needs": needs, "python": str(python)},
        lambda: first_problem(python, needs),
        make,
        REMEDY,
    )


def held_versions(python: Path) -> list[str]:
    """Constraint lines that keep torch and its companions as installed, so that pip exchanges no build."""
    names = ("torch", "torchvision", "torchaudio")
    code = (
        "from importlib import metadata as m\n"
        f"for name in {names!r}:\n"
        "    for dist in m.distributions(name=name):\n"
        "        print(name + '==' + dist.version)\n"
    )
    done = answer([python, "-c", code])
    return sorted(set(done.stdout.split())) if done else []


def inspection(python: Path, needs: list[str]) -> dict:
    """What `verify.py` says about the requirements in that environment.

    Raises:
        StepError: that Python does not run, or has no pip.
    """
    command = [python, VERIFY, *needs]
    done = answer(command)
    if done is None or done.returncode != 0:
        raise StepError(
            "packages",
            f"{python} cannot inspect its packages",
            "Give that Python a pip "
            f"({python} -m ensurepip), or unset COMFYUI_PATH to get an environment of our own.",
            [python, VERIFY],
            done.stderr[-800:] if done else "",
        )
    return json.loads(done.stdout)


def first_problem(python: Path, needs: list[str]) -> str | None:
    """The first requirement that is missing or damaged; None when all are whole."""
    problems = inspection(python, needs)["problems"]
    return problems[0] if problems else None


def repair(python: Path, needs: list[str]) -> None:
    """Remove the metadata of damaged packages of our own environment, so that pip installs them again."""
    for folder in inspection(python, needs)["damaged"]:
        if Path(folder).suffix == ".dist-info":
            shutil.rmtree(folder)
