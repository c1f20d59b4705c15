"""Run a module as `python -m MODULE` does, where torchvision may not fit torch. Runs inside the environment.

python -m devtools.run_module MODULE [its arguments]
"""

import runpy
import signal
import sys

from . import torchvision_shim


def main() -> None:
    """Hand over to the module named first on the command line."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is ended
    torchvision_shim.install()  # diffusers and transformers import torchvision
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
