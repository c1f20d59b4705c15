"""What the browser tests need beyond Python packages: Chromium, and the newer of the two editors they run."""

import os
import shutil
from pathlib import Path

from .packages import REMEDY
from .setup import HOME
from .steps import Step, complete, run_command, say

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APT = ["apt-get", "install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
NEWER = "1.58.1"  # the older one comes with the host
FRONTENDS = HOME / "frontend"


def chromium() -> str | None:
    """The Chromium or Chrome of this machine, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def newer_frontend() -> Path:
    """The folder of the newer editor, for ComfyUI's --front-end-root."""
    return FRONTENDS / NEWER / "comfyui_frontend_package" / "static"


def prepare_browser(python: Path) -> None:
    """Complete what the browser tests need; where Chromium cannot be installed, say how, and go on."""
    if chromium() is None:
        install_chromium()
    complete(frontend_step(python))


def install_chromium() -> None:
    """Install Debian's Chromium where that is ours to do.

    Raises:
        StepError: apt-get failed.
    """
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        say(f"no Chromium: the browser tests are skipped. To have them: sudo {' '.join(APT)}")
        return
    say("Chromium ...")
    remedy = "Install Chromium or Chrome yourself, and run the same command again."
    run_command("Chromium", ["apt-get", "update"], remedy)
    run_command("Chromium", ["env", "DEBIAN_FRONTEND=noninteractive", *APT], remedy)


def frontend_step(python: Path) -> Step:
    """The step that puts the newer editor into a folder of its own, beside the host's."""
    package, folder = f"comfyui-frontend-package=={NEWER}", FRONTENDS / NEWER

    def make() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        install = [python, "-m", "pip", "install", "--no-deps", "--target", folder, package]
        run_command("newer editor", install, REMEDY)

    def problem() -> str | None:
        return None if (newer_frontend() / "index.html").is_file() else "it is missing"

    return Step(
        "newer editor", HOME / "stamps" / "frontend.json", {"package": package}, problem, make, REMEDY
    )
