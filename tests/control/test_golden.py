"""Image Conductor's published code on weights that follow from their names: its residuals are ours."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from choreographer.core.control.layouts import published_weights, read_video_controlnet
from choreographer.core.control.network import ControlConfig, VideoControlNet
from choreographer.devtools.golden_weights import fill, weight_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
FLOW, IMAGE = "b_flow_controlnet_tiny.safetensors", "d_image_controlnet_tiny.safetensors"


def tiny(kind):
    config = ControlConfig(
        channels=(32, 64, 128, 128), context=48, kind=kind, condition={"flow": 2, "image": 5}[kind]
    )
    named = published_weights(VideoControlNet(config, device="meta"))
    return read_video_controlnet(fill({name: weight.shape for name, weight in named.items()})).eval()


def flow_condition(data):
    return data["flow"].transpose(1, 2)  # 1 F 2 H W


def image_condition(data):
    condition = torch.zeros(1, 8, 5, 8, 16)
    condition[0, 0, :4] = data["image_latent_frame0"][0]
    condition[0, :, 4] = data["mask_frame_values"][:, None, None]
    return condition


def errors(net, condition, data):
    """max|d| / max|ref| of each residual."""
    with torch.no_grad():
        down, mid = net(condition, 481, data["encoder_hidden_states"].repeat_interleave(8, 0))
    names = [*(f"down_{i}" for i in range(12)), "mid"]
    pairs = [
        (x.unflatten(0, (2, 8)).transpose(1, 2), data[name])
        for name, x in zip(names, (*down, mid), strict=True)
    ]
    return [((ours - reference).abs().max() / reference.abs().max()).item() for ours, reference in pairs]


@pytest.mark.parametrize(
    ("file", "kind", "condition"), [(FLOW, "flow", flow_condition), (IMAGE, "image", image_condition)]
)
def test_residuals_equal_the_published_code(golden_folder, file, kind, condition):
    data = load_file(golden_folder / file)
    assert max(errors(tiny(kind), condition(data), data)) <= 1e-4


def test_the_bound_tells_right_from_wrong(golden_folder):
    data = load_file(golden_folder / FLOW)
    net, flow = tiny("flow"), flow_condition(data)
    assert min(errors(net, flow.flip(2), data)) > 1e-2  # dx and dy swapped
    assert max(errors(net, flow.roll(1, 1), data)) > 1e-2  # one frame late
    for module in net.modules():
        if hasattr(module, "positions"):
            module.positions.zero_()
    assert max(errors(net, flow, data)) > 1e-2


@pytest.mark.parametrize(
    ("name", "shape", "total", "first"),
    [
        ("conv_in.weight", (320, 4, 3, 3), 9.724030, (0.019008, -0.213801, -0.212133)),
        ("mid_block.resnets.1.norm2.weight", (1280,), 1276.461341, (0.966260, 0.801759, 0.938171)),
        ("controlnet_mid_block.bias", (1280,), -0.478626, (0.010875, -0.001375, -0.005044)),
        ("conv_in.lora_B.cmcm_weights.weight", (32, 4, 1, 1), None, (0.123955, -0.059228, 0.027634)),
    ],
)
def test_the_weights_are_those_of_the_golden_files(name, shape, total, first):
    weight = weight_of(name, shape)
    assert weight.flatten()[:3].tolist() == pytest.approx(first, abs=1e-6)
    assert total is None or weight.sum().item() == pytest.approx(total, abs=1e-3)


def golden_command(folder):
    command = [sys.executable, "-m", "devtools.golden", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_golden_command_checks_residuals_slices_statistics_and_probes(golden_folder, tmp_path):
    for name in (FLOW, IMAGE):
        with safe_open(golden_folder / name, "pt") as file:
            about = file.metadata()
        save_file(load_file(golden_folder / name), tmp_path / name, metadata=about)
    changed = load_file(golden_folder / FLOW)
    changed["down_3"] = changed["down_3"].roll(1, 2)
    changed["mid_stats"] = changed["mid_stats"] * 1.01
    changed["probe_time_embedding"] = changed["probe_time_embedding"] + 0.01
    changed["down_7_slice"] = changed.pop("down_7").flatten()[::2] + 0.1
    changed["strides"] = torch.full((13,), 2)
    save_file(changed, tmp_path / "b_flow_controlnet_changed.safetensors", metadata=about)
    lines = {line.split(":")[0]: line for line in golden_command(tmp_path).stdout.splitlines()}
    assert lines[FLOW].endswith("holds") and lines[IMAGE].endswith("holds")
    failed = lines["b_flow_controlnet_changed.safetensors"].split("FAILS: ")[1]
    assert failed == "down_3, down_7_slice, mid_stats spread, mid_stats max"  # the first four of the broken
    assert json.loads(about["config"])["cross_attention_dim"] == 48


OTHERS = (
    "c_flow_controlnet_tiny_lora_both",
    "e_camera_free_guidance",
    "f_unet_tiny",
    "h_pipeline_tiny_camera",
    "i_orthogonal_loss",
)


def golden_lines(folder):
    lines = (line.split(": ", 1) for line in golden_command(folder).stdout.splitlines() if ": " in line)
    return dict(lines)


def test_the_published_numbers_hold_and_others_do_not(golden_folder, tmp_path):
    """LoRA, guidance, the UNet with both nets, 25 steps of the sampling loop, the orthogonal loss."""
    for name in (*OTHERS, FLOW.removesuffix(".safetensors"), IMAGE.removesuffix(".safetensors")):
        (tmp_path / f"{name}.safetensors").symlink_to(golden_folder / f"{name}.safetensors")
    changed = {
        "c_flow_controlnet_other_lora_both": (OTHERS[0], "flow", lambda x: x.flip(1)),
        "e_camera_free_guidance_other": (OTHERS[1], "eps_obj_cond", lambda x: x * 1.01),
        "f_unet_other": (OTHERS[2], "latents", lambda x: x.roll(1, 2)),
        "i_orthogonal_loss_other": (OTHERS[4], "lin_cam", lambda x: x.roll(1, 0)),
    }
    for name, (source, key, change) in changed.items():
        with safe_open(golden_folder / f"{source}.safetensors", "pt") as file:
            about = file.metadata()
        data = load_file(golden_folder / f"{source}.safetensors")
        data[key] = change(data[key]).contiguous()
        save_file(data, tmp_path / f"{name}.safetensors", metadata=about)
    lines = golden_lines(tmp_path)
    assert all(lines[f"{name}.safetensors"].endswith("holds") for name in OTHERS)
    assert all("FAILS" in lines[f"{name}.safetensors"] for name in changed)
