"""Files: every published layout opens with no key left over; what does not fit is named."""

import json

import pytest
import torch
from choreographer.core.control.layouts import missing_parts, published_weights, read_video_controlnet
from choreographer.core.control.lora import add_lora
from choreographer.core.control.lora_files import lora_weights, save_lora, wrapped_weights
from choreographer.core.control.network import ControlConfig
from choreographer.core.motion.transformer import position_table
from safetensors.torch import save_file


def same(a, b):
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def flow_base(manifest):
    """Image Conductor's flow net without its LoRA."""
    state = manifest("flow_controlnet")
    return {key.replace(".base_layer.", "."): t for key, t in state.items() if ".lora_" not in key}


@pytest.mark.parametrize(
    ("name", "keys", "kind", "condition"),
    [
        (
            "v3_sd15_sparsectrl_rgb",
            486,
            "image",
            5,
        ),  # Image Conductor's image net has the same keys and shapes
        ("v3_sd15_sparsectrl_scribble", 500, "pixels", 4),
        ("flow_controlnet", 486, "flow", 2),
    ],
)
def test_published_files_load_completely(manifest, name, keys, kind, condition):
    state = flow_base(manifest) if name == "flow_controlnet" else manifest(name)
    assert len(state) == keys
    model = read_video_controlnet(state)
    assert model.config == ControlConfig(kind=kind, condition=condition)
    again = published_weights(model)
    tables = {key for key in state if key.endswith("pos_encoder.pe")}
    assert len(tables) == 8 and again.keys() == state.keys() - tables
    assert all(again[key].shape == state[key].shape for key in again)


@pytest.mark.parametrize("kind", ["image", "pixels", "flow"])
def test_files_survive_wrapping_and_keep_their_values(small, kind, tmp_path):
    model = small(kind)
    state = {**published_weights(model), "unused": "text"}
    tensors = published_weights(model)
    for wrapped in (
        {"controlnet": state, "global_step": 7},
        {"state_dict": {f"module.{key}": tensor for key, tensor in tensors.items()}},
        {
            "controlnet": {f"module.{key}": tensor for key, tensor in tensors.items()},
            "animatediff_config": {},
        },
    ):
        torch.save(wrapped, tmp_path / "net.ckpt")
        again = read_video_controlnet(tmp_path / "net.ckpt")
        # the file does not say how many heads: 8, as in all published ones
        assert again.config == ControlConfig(**{**model.config.__dict__, "heads": 8})
        assert same(again, model)
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, tmp_path / "net.safetensors")
    assert same(read_video_controlnet(tmp_path / "net.safetensors"), model)


def test_the_position_table_is_recomputed(small):
    state = published_weights(small())
    key = "temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe"
    state[f"down_blocks.0.motion_modules.0.{key}"] = torch.full((1, 20, 32), 7.0)
    model = read_video_controlnet(state)
    assert model.config.max_frames == 20
    assert torch.equal(model.down_blocks[0].motion_modules[0].positions, position_table(20, 32))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_take_the_asked_type(small, dtype):
    state = published_weights(small("flow").to(dtype))
    assert {weight.dtype for weight in read_video_controlnet(state).parameters()} == {dtype}
    full = read_video_controlnet(state, dtype=torch.float32)
    assert {weight.dtype for weight in full.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v3_sd15_mm", "not a video ControlNet but an AnimateDiff motion module"),
        ("v2_lora_PanLeft", "use 'Load Motion LoRA'"),
        ("sd15_checkpoint", "use ComfyUI's 'Load Checkpoint'"),
    ],
)
def test_other_published_files_are_named(manifest, name, said):
    with pytest.raises(ValueError, match=said):
        read_video_controlnet(manifest(name))


def test_an_image_controlnet_is_named(small):
    state = {key: t for key, t in published_weights(small()).items() if "motion_modules" not in key}
    with pytest.raises(ValueError, match="use ComfyUI's 'Load ControlNet Model'"):
        read_video_controlnet(state)


def test_a_file_that_nearly_fits_names_the_keys(small):
    motion = "down_blocks.1.motion_modules.0.temporal_transformer"
    state = published_weights(small())
    del state[f"{motion}.proj_out.bias"]
    state[f"{motion}.proj_mid.bias"] = torch.zeros(1)
    said = f"missing {motion}.proj_out.bias; unexpected {motion}.proj_mid.bias"
    with pytest.raises(ValueError, match=said):
        read_video_controlnet(state)
    for gone in ("conv_in.weight", "down_blocks.0.resnets.1.conv1.weight", "controlnet_down_blocks.3.bias"):
        state = published_weights(small())
        del state[gone]
        with pytest.raises(ValueError, match=f"missing {gone}"):
            read_video_controlnet(state)
    state = {**published_weights(small()), "mid_block.motion_modules.0.norm.bias": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"mid_block\.motion_modules\.0"):
        read_video_controlnet(state)


@pytest.mark.parametrize(
    ("key", "shape", "said"),
    [
        (
            "controlnet_cond_embedding.weight",
            (32, 7, 3, 3),
            r"7 channels; expected 5 \(4 latent, 1 mask\) or 128",
        ),
        (
            "down_blocks.1.resnets.0.conv2.weight",
            (64, 9, 3, 3),
            r"expected \(64, 64, 3, 3\), got \(64, 9, 3, 3\)",
        ),
        ("mid_block.attentions.0.proj_in.weight", (64, 64), r"expected \(64, 64, 1, 1\), got \(64, 64\)"),
    ],
)
def test_misshaped_weights_are_named(small, key, shape, said):
    state = {**published_weights(small()), key: torch.zeros(shape)}
    with pytest.raises(ValueError, match=said):
        read_video_controlnet(state)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"controlnet_conditioning_channel_order": "bgr"}, "controlnet_conditioning_channel_order 'bgr'"),
        ({"attention_head_dim": [4, 8, 8]}, r"heads \[4, 8, 8\]"),
    ],
)
def test_a_folder_that_computes_otherwise_is_refused(small, tmp_path, config, said):
    save_file(
        {key: tensor.clone() for key, tensor in published_weights(small()).items()},
        tmp_path / "diffusion_pytorch_model.safetensors",
    )
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=said):
        read_video_controlnet(tmp_path)


LORA = {"camera": "flow_controlnet_lora_camera_subset", "object": "flow_controlnet_lora_object_subset"}


def test_the_single_file_is_read_and_written_completely(manifest):
    state = manifest("flow_controlnet")
    net = read_video_controlnet(state)
    assert len(state) == 1286 and missing_parts(net) == [] and net.config.kind == "flow"
    again = wrapped_weights(net, published_weights(net))
    assert again.keys() == {key for key in state if not key.endswith("pos_encoder.pe")}
    assert all(again[key].shape == state[key].shape for key in again)
    without_tables = {key: t for key, t in state.items() if not key.endswith("pos_encoder.pe")}
    assert missing_parts(read_video_controlnet(without_tables)) == []


def test_the_parts_are_read_completely(manifest):
    base, parts = (
        manifest("flow_controlnet_base_nolora"),
        {role: manifest(name) for role, name in LORA.items()},
    )
    assert missing_parts(read_video_controlnet(base)) == ["no camera LoRA", "no object LoRA"]
    one = read_video_controlnet(base, parts={"object": parts["object"]})
    assert missing_parts(one) == ["no camera LoRA"] and lora_weights(one, "camera") == {}
    net = read_video_controlnet(base, parts=parts)
    assert missing_parts(net) == [] and published_weights(net).keys() <= base.keys()
    for role, state in parts.items():
        again = lora_weights(net, role)
        assert again.keys() == state.keys() and all(again[key].shape == state[key].shape for key in again)


def test_the_image_net_has_nothing_missing(manifest):
    net = read_video_controlnet(manifest("image_controlnet"))
    assert missing_parts(net) == [] and net.lora is None


def camera_part(net):
    return {key: tensor.clone() for key, tensor in lora_weights(net, "camera").items()}


@pytest.fixture
def with_lora(small):
    net = small("flow")
    add_lora(net, "camera", 4)
    for branch in net.lora.branches("camera").values():
        for number, up in enumerate(branch.ups):
            up.weight.data.fill_(0.1 + number)
    return net


def test_parts_and_the_single_file_keep_their_values(with_lora, tmp_path):
    base = published_weights(with_lora)
    save_lora(with_lora, "camera", tmp_path / "camera.safetensors")
    torch.save({"state_dict": wrapped_weights(with_lora, base)}, tmp_path / "whole.ckpt")
    parts = read_video_controlnet(base, parts={"camera": tmp_path / "camera.safetensors"})
    assert same(parts, with_lora) and same(read_video_controlnet(tmp_path / "whole.ckpt"), with_lora)
    with pytest.raises(ValueError, match="no object LoRA to write"):
        save_lora(with_lora, "object", tmp_path / "object.safetensors")


def test_layers_without_lora_are_named_and_add_nothing(with_lora):
    part = camera_part(with_lora)
    motion = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"
    gone = ("mid_block.resnets.1.conv2", f"{motion}.to_k")
    for layer in gone:
        for side in "AB":
            del part[f"{layer}.lora_{side}.cmcm_weights.weight"]
    net = read_video_controlnet(published_weights(with_lora), parts={"camera": part})
    said = missing_parts(net)
    assert (
        len(said) == 2 and "no camera LoRA at 2 layers" in said[0] and all(layer in said[0] for layer in gone)
    )
    branch = net.lora.branches("camera")["down_blocks.0.motion_modules.0.attentions.0.qkv"]
    assert not branch.ups[1].weight.any() and branch.ups[2].weight.all()
    assert "mid_block.resnets.1.conv2" not in net.lora.branches("camera")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda part: part.pop("conv_in.lora_B.cmcm_weights.weight"), "no lora_B of conv_in"),
        (
            lambda part: part.update({"conv_out.lora_A.cmcm_weights.weight": torch.zeros(4, 3)}),
            "unexpected conv_out",
        ),
        (
            lambda part: part.update({"conv_in.lora_A.zoom_weights.weight": torch.zeros(4, 3)}),
            "unexpected LoRA weight conv_in.lora_A.zoom_weights.weight",
        ),
        (
            lambda part: part.update({"conv_in.lora_B.cmcm_weights.weight": torch.zeros(31, 4, 1, 1)}),
            r"conv_in: expected \(32, 4, 1, 1\), got \(31, 4, 1, 1\)",
        ),
        (
            lambda part: part.update({"conv_in.weight": torch.zeros(1)}),
            "it has other weights, such as conv_in",
        ),
    ],
)
def test_a_part_that_does_not_fit(with_lora, change, said):
    part = camera_part(with_lora)
    change(part)
    with pytest.raises(ValueError, match=said):
        read_video_controlnet(published_weights(with_lora), parts={"camera": part})


def test_parts_in_the_wrong_place(with_lora):
    base, part = published_weights(with_lora), camera_part(with_lora)
    with pytest.raises(ValueError, match="holds the camera LoRA, expected the object LoRA"):
        read_video_controlnet(base, parts={"object": part})
    with pytest.raises(ValueError, match=r"holds LoRA weights alone \(camera\)"):
        read_video_controlnet(part)
