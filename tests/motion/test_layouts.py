"""Files: every published layout opens with no key left over, ours survives a round trip, others are refused
clearly.
"""

import json

import pytest
import torch
from choreographer.core.motion.detect import detect_layout
from choreographer.core.motion.layouts import part_names, read_motion_module, save_motion_module
from choreographer.core.motion.lora import lora_patches, merge_lora, read_domain_adapter, read_motion_lora
from choreographer.core.motion.model import MotionConfig, MotionModel
from choreographer.core.motion.transformer import position_table
from safetensors import safe_open
from safetensors.torch import load_file, save_file

SD15 = (320, 640, 1280, 1280)
SMALL = MotionConfig(
    (64, 128), layers_per_block=1, heads=4, mid_block=True, max_frames=16, beta_schedule="scaled_linear"
)
MODULES = {
    "mm_sd_v14": 24,
    "mm_sd_v15": 24,
    "mm_sd_v15_v2": 32,
    "v3_sd15_mm": 32,
    "motion_module_subset_of_unet": 32,
}


@pytest.fixture
def small(random_weights):
    return random_weights(MotionModel(SMALL))


def published(model):
    """State dict of a model under AnimateDiff's names, without going through save."""
    state = {}
    for (site, _), module in zip(model.config.sites(), model.sites, strict=True):
        own = module.state_dict()
        for theirs, (ours, third) in part_names(model.config.attentions).items():
            state[f"{site}.temporal_transformer.{theirs}"] = (
                own[ours] if third is None else own[ours].chunk(3)[third]
            )
    return state


def same(a, b):
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize(("name", "frames"), MODULES.items())
def test_published_modules_load_completely(manifest, name, frames):
    state = manifest(name, "meta")
    model = read_motion_module(state)
    v1, v2 = frames == 24, "v2" in name
    assert model.config == MotionConfig(SD15, max_frames=frames, mid_block=v2, shared_norm=v1)
    tables = sum(tensor.numel() for key, tensor in state.items() if key.endswith(".pe"))
    assert (
        sum(weight.numel() for weight in model.parameters())
        == sum(t.numel() for t in state.values()) - tables
    )
    assert len(model.sites) == 20 + v2


def test_a_full_size_file_loads_with_its_numbers(manifest):
    state = manifest("mm_sd_v15_v2")
    key = (
        "mid_block.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.1.to_k.weight"
    )
    state[key] = torch.full((1280, 1280), 0.5)
    model = read_motion_module(state, dtype=torch.bfloat16)
    thirds = model.sites[8].attentions[1].qkv.weight.chunk(3)
    assert [round(third.mean().item(), 3) for third in thirds] == [0.01, 0.5, 0.01]
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 1},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {**state, "animatediff_config": {"a": 1}},
        lambda state: {
            **state,
            "conv_in.weight": torch.zeros(3),
            "down_blocks.0.resnets.0.norm1.weight": torch.ones(2),
        },
        lambda state: {f"unet.{key}": value for key, value in state.items()},
    ],
)
def test_wrappings(small, wrap):
    assert same(read_motion_module(wrap(published(small))), small)


def test_positions_come_from_the_formula_not_the_file(small):
    state = published(small)
    block = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0"
    key = f"{block}.attention_blocks.0.pos_encoder.pe"
    state[key] = torch.full((1, 20, 64), 7.0)
    model = read_motion_module(state)
    assert model.config.max_frames == 20 and torch.equal(model.sites[0].positions, position_table(20, 64))
    assert not any("positions" in name for name in model.state_dict())


def test_own_file_round_trip(small, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_motion_module(small, path, {"steps": 1500})
    again = read_motion_module(path)
    assert same(again, small) and again.config == MotionConfig(**{**SMALL.__dict__, "name": "mine"})
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["choreographer"])["steps"] == 1500
    # Other packs read the published names, and want the position table.
    keys = load_file(path)
    assert set(published(small)) < set(keys) and sum(key.endswith("pos_encoder.pe") for key in keys) == 14
    assert torch.equal(keys[next(key for key in keys if key.endswith(".pe"))][0], position_table(16, 64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_take_the_asked_type(small, tmp_path, dtype):
    save_motion_module(small.to(dtype), tmp_path / "half.safetensors")
    assert {weight.dtype for weight in read_motion_module(tmp_path / "half.safetensors").parameters()} == {
        dtype
    }
    full = read_motion_module(tmp_path / "half.safetensors", dtype=torch.float32)
    assert {weight.dtype for weight in full.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "layout", "said"),
    [
        ("v3_sd15_sparsectrl_rgb", "sparsectrl_rgb", "use 'Load Video ControlNet'"),
        ("v3_sd15_sparsectrl_scribble", "sparsectrl_scribble", "use 'Load Video ControlNet'"),
        ("flow_controlnet", "flow_controlnet", "use 'Load Video ControlNet'"),
        ("v2_lora_PanLeft", "motion_lora", "use 'Load Motion LoRA'"),
        ("v3_sd15_adapter", "domain_adapter", "use 'Apply Domain Adapter'"),
        ("sd15_checkpoint", "checkpoint", "use ComfyUI's 'Load Checkpoint'"),
    ],
)
def test_other_published_files_are_named(manifest, name, layout, said):
    state = manifest(name, "meta")
    assert detect_layout(state) == layout
    with pytest.raises(ValueError, match=said):
        read_motion_module(state)


def test_an_unknown_file_gets_the_nearest_layout_and_five_keys():
    state = {
        f"down_blocks.{i}.motion.temporal_transformer.attention_blocks.to_q.weight": torch.ones(1)
        for i in range(9)
    }
    with pytest.raises(ValueError, match="nearest layout is an AnimateDiff motion module") as caught:
        read_motion_module(state)
    assert str(caught.value).count("to_q.weight,") == 4 and "\n" not in str(caught.value)


def test_a_file_that_nearly_fits_names_the_keys(small):
    state = published(small)
    gone = "up_blocks.1.motion_modules.0.temporal_transformer.proj_out.bias"
    extra = "up_blocks.1.motion_modules.1.temporal_transformer.proj_mid.bias"
    del state[gone]
    state[extra] = torch.zeros(1)
    with pytest.raises(ValueError, match=f"missing {gone}; unexpected {extra}"):
        read_motion_module(state)
    state = published(small)
    state["mid_block.motion_modules.0.temporal_transformer.proj_in.weight"] = torch.zeros(128, 64)
    with pytest.raises(ValueError, match=r"mid_block.motion_modules.0.*\(128, 128\), got \(128, 64\)"):
        read_motion_module(state)
    with pytest.raises(ValueError, match="lacks down_blocks.0"):
        read_motion_module(
            {key: value for key, value in published(small).items() if key.startswith("up_blocks")}
        )


def random_lora(config, rank=4, spelling="animatediff"):
    state, generator = {}, torch.Generator().manual_seed(5)
    for site, width in config.sites():
        for attention in range(config.attentions):
            for part in ("q", "k", "v", "out"):
                block = (
                    f"{site}.temporal_transformer.transformer_blocks.0.attention_blocks.{attention}.processor"
                )
                if spelling == "diffusers":
                    block = f"{site}.transformer_blocks.0.attn{attention + 1}.processor"
                lora = ".lora_linear_layer" if spelling == "linear layers" else "_lora"
                state[f"{block}.to_{part}{lora}.down.weight"] = torch.randn(rank, width, generator=generator)
                state[f"{block}.to_{part}{lora}.up.weight"] = torch.randn(width, rank, generator=generator)
    return state


@pytest.mark.parametrize("spelling", ["animatediff", "diffusers", "linear layers"])
def test_motion_lora_adds_up_times_down_to_each_third(small, spelling):
    state = random_lora(SMALL, spelling=spelling)
    before = {key: weight.clone() for key, weight in published(small).items()}
    assert merge_lora(small, read_motion_lora(state), 0.5) == []
    after = published(small)
    checked = 0
    for key, weight in before.items():
        lora = key.replace(".to_", ".processor.to_").replace("to_out.0", "to_out").removesuffix(".weight") + (
            ".lora_linear_layer" if spelling == "linear layers" else "_lora"
        )
        if spelling == "diffusers":
            lora = lora.replace("temporal_transformer.", "").replace("attention_blocks.0", "attn1")
            lora = lora.replace("attention_blocks.1", "attn2")
        change = torch.zeros(())
        if f"{lora}.up.weight" in state:
            change = 0.5 * state[f"{lora}.up.weight"] @ state[f"{lora}.down.weight"]
            checked += 1
        assert torch.allclose(after[key], weight + change, atol=1e-5), key
    assert checked == len(state) / 2


def test_published_motion_lora_fits_v2_and_skips_the_middle_on_v3(manifest):
    lora = read_motion_lora(manifest("v2_lora_PanLeft", "meta"))
    assert len(lora.layers) == 336 / 2
    v2 = MotionModel(MotionConfig(SD15, mid_block=True), device="meta")
    patches, messages = lora_patches(v2, lora)
    assert len(patches) == 168 and messages == []
    parameters = dict(v2.named_parameters())
    for patch in patches:
        rows = parameters[patch.key].shape[0] if patch.part is None else patch.part[2]
        assert (rows, parameters[patch.key].shape[1]) == (patch.up.shape[0], patch.down.shape[1])
    v3 = MotionModel(MotionConfig(SD15), device="meta")
    patches, messages = lora_patches(v3, lora)
    assert (
        len(patches) == 160 and len(messages) == 1 and "8 layers of the middle block skipped" in messages[0]
    )


def test_a_motion_lora_for_another_width_or_of_another_kind_is_refused(small, manifest):
    with pytest.raises(
        ValueError, match="320 wide at down_blocks.0.motion_modules.0, this motion module is 64"
    ):
        lora_patches(small, read_motion_lora(manifest("v2_lora_PanLeft", "meta")))
    with pytest.raises(ValueError, match="not a motion LoRA but an AnimateDiff motion module"):
        read_motion_lora(published(small))
    half = random_lora(SMALL)
    half.pop(next(iter(half)))
    with pytest.raises(ValueError, match="lacks its other half"):
        read_motion_lora(half)


def test_domain_adapter_matches_the_hosts_unet_completely(comfy_host, manifest, caplog):
    import comfy.lora
    import comfy.model_base
    import comfy.supported_models

    config = comfy.supported_models.SD15(
        {
            "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320,
            "num_res_blocks": [2] * 4,
            "channel_mult": (1, 2, 4, 4), "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_output": [1] * 9 + [0] * 3, "transformer_depth_middle": 1, "context_dim": 768,
            "num_heads": 8, "num_head_channels": -1, "use_spatial_transformer": True, "legacy": False,
            "use_linear_in_transformer": False, "adm_in_channels": None, "use_checkpoint": False,
            "use_temporal_attention": False, "use_temporal_resblock": False, "dtype": torch.float32,
        }
    )  # fmt: skip
    model = comfy.model_base.BaseModel(config, device=torch.device("meta"))
    adapter = read_domain_adapter(manifest("v3_sd15_adapter", "meta"))
    assert len(adapter) == 256
    loaded = comfy.lora.load_lora(adapter, comfy.lora.model_lora_keys_unet(model, {}))
    assert len(loaded) == 128 and "lora key not loaded" not in caplog.text
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    for key, patch in loaded.items():
        assert shapes[key] == (patch.weights[0].shape[0], patch.weights[1].shape[1])
    with pytest.raises(ValueError, match="not a domain adapter but a motion LoRA"):
        read_domain_adapter(manifest("v2_lora_PanLeft", "meta"))


def test_a_truncated_module_is_one_clear_sentence(small, tmp_path):
    save_file(
        {key: tensor.contiguous() for key, tensor in published(small).items()}, tmp_path / "m.safetensors"
    )
    whole = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "m.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="'m.safetensors' is truncated or damaged"):
        read_motion_module(tmp_path / "m.safetensors")
