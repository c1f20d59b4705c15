"""The shipped demo weights go back to training parts, and from there to the same files."""

import torch
from choreographer.core.training.__main__ import main
from choreographer.core.training.demo_files import CHECKPOINT, MOTION, NETS, export_nets
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


def test_nets_go_into_the_demo_with_small_matrices_and_come_back(tmp_path):
    from choreographer.core.control.layouts import read_video_controlnet
    from choreographer.core.control.network import ControlConfig, VideoControlNet
    from choreographer.core.training.control import save_control

    torch.manual_seed(0)
    net = VideoControlNet(
        ControlConfig(
            channels=(64, 64), attends=(True, False), context=64, heads=4, motion_heads=4, norm_groups=32
        )
    )
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    (tmp_path / "run").mkdir()
    save_control(net, tmp_path / "run" / "image_control.safetensors")
    export_nets(tmp_path / "demo", [tmp_path / "run", tmp_path])
    (made,) = (tmp_path / "demo").rglob("*.*")
    assert made == tmp_path / "demo" / NETS["image_control.safetensors"]
    tensors, metadata = _contents(made)
    assert metadata == _contents(tmp_path / "run" / "image_control.safetensors")[1]
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float8_e4m3fn, torch.float32}
    again, wanted = read_video_controlnet(made, dtype=torch.float32), net.state_dict()
    for key, tensor in again.state_dict().items():
        assert (tensor - wanted[key]).abs().max() < 2**-4 * wanted[key].abs().max()
