"""The shipped demo weights go back to training parts, and from there to the same files."""

import torch
from choreographer.core.training.__main__ import CHECKPOINT, MOTION, main
from choreographer.devtools.pack import ROOT
from safetensors import safe_open


def _contents(path):
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118


def test_unpacking_and_exporting_gives_the_same_weights(tmp_path, comfy_path):
    main(["unpack", str(tmp_path / "run"), "--from", str(ROOT / "demo")])
    run = str(tmp_path / "run")
    main(["export", str(tmp_path / "demo"), "--from", run, "--autoencoder", run])
    for part in (CHECKPOINT, MOTION):
        # not the files' bytes: safetensors writes metadata in any order
        made, made_metadata = _contents(tmp_path / "demo" / part)
        shipped, metadata = _contents(ROOT / "demo" / part)
        assert made_metadata == metadata
        assert made.keys() == shipped.keys()
        for key, tensor in shipped.items():
            assert tensor.dtype == made[key].dtype
            assert torch.equal(tensor, made[key]), key
