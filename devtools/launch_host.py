"""Run ComfyUI's `main.py` in this process, fitted to the torch installed. Runs inside the environment.

    python launch_host.py COMFYUI/main.py [ComfyUI's options]

Standard input is a pipe from the process that started this one. When that process ends, in whatever way, the
pipe closes and this process ends too, so that no server is left behind.
"""

import os
import runpy
import subprocess
import sys
import threading
from pathlib import Path

import torchvision_shim

HAS_ACCELERATOR = (
    "import sys, torch; "
    "kinds = [torch.cuda, torch.backends.mps, getattr(torch, 'xpu', None)]; "
    "sys.exit(not any(kind is not None and kind.is_available() for kind in kinds))"
)


def end_with_parent() -> None:
    """Wait until standard input closes, then end the process at once."""
    while sys.stdin.buffer.read(4096):
        continue
    os._exit(0)


def needs_cpu_option() -> bool:
    """Whether ComfyUI must use the CPU; asked in a process apart, as ComfyUI imports torch itself."""
    if torchvision_shim.is_cpu_build():
        return True
    return subprocess.run([sys.executable, "-c", HAS_ACCELERATOR], stdin=subprocess.DEVNULL).returncode != 0


def main() -> None:
    """Hand over to ComfyUI."""
    script = Path(sys.argv[1]).resolve()
    threading.Thread(target=end_with_parent, daemon=True).start()
    options = sys.argv[2:] + (["--cpu"] if needs_cpu_option() else [])
    torchvision_shim.install()
    sys.path[0] = str(script.parent)
    sys.argv = [str(script), *options]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
