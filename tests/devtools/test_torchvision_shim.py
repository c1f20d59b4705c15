"""Where torchvision does not fit torch, it imports all the same; where it fits, nothing is touched."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = """
from devtools import torchvision_shim
first = torchvision_shim.install()
import torchvision, torch
assert torch.ops.torchvision.nms
assert not torchvision_shim.install()
torchvision.transforms.Resize(4)(torch.zeros(3, 8, 8))
print("defined" if first else "untouched", torchvision_shim.is_cpu_build())
"""


def test_torchvision_imports_after_the_shim():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True)
    import torch

    cpu_only = not torch.backends.cuda.is_built() and torch.version.hip is None
    assert done.stdout.split()[1:] == [str(cpu_only)], done.stderr
    if not cpu_only:
        assert done.stdout.startswith("untouched")
