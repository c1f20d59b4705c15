"""Files: every published layout opens with no key left over; ours survive; what does not fit is named."""

from dataclasses import replace

import pytest
import torch
from choreographer.core.image_prompt.layouts import read_image_prompt, save_image_prompt
from choreographer.core.image_prompt.names import named, published
from choreographer.core.image_prompt.network import ImagePrompt, ImagePromptConfig, MapperConfig, Place
from choreographer.core.image_prompt.vision import VisionConfig

UNET = "videobooth_unet3d_watermark_sd14"
SMALL = ImagePromptConfig(
    places=(Place("mid_block.attentions.0.transformer_blocks.0", 32, 24),),
    mapper=MapperConfig(16, 16, 24, (2, 1), VisionConfig(16, 2, 2, 32, 8, 32)),
    text=True,
    fine=True,
    gains=True,
    name="small",
)


@pytest.mark.parametrize(
    ("name", "keys", "places", "text", "fine"),
    [
        ("videobooth_mapper_mlp_only", 100, 0, False, False),
        ("videobooth_mapper_stage1", 132, 16, True, False),
        ("videobooth_mapper_full_stage2", 196, 16, True, True),
    ],
)
def test_published_mappers_load_completely(manifest, name, keys, places, text, fine):
    state = manifest(name)
    model = read_image_prompt(state)
    assert len(state) == keys == len(model.state_dict())
    assert (len(model.config.places), model.config.text, model.config.fine) == (places, text, fine)
    assert model.config.mapper == MapperConfig() and model.config.null_text == "None"
    mapper = sum(weight.numel() for weight in model.mapper.parameters())
    assert round(mapper / 1e6, 1) == 28.9


def test_the_published_video_unet_loads_beside_a_mapper(manifest):
    video = manifest(UNET)
    model = read_image_prompt(manifest("videobooth_mapper_full_stage2"), video)
    config = model.config
    assert len(video) == 978 and config.temporal and config.cleaner == (320, 640, 640)
    assert config.cleaner_layers == 2 and len(config.places) == 16
    ours = published(model.state_dict(), config)
    extra = {key for key in video if "_temp." in key or key.startswith("watermark")}
    assert len(extra) == len(named(video)) == 292
    assert all(ours[key].shape == video[key].shape for key in extra)


def test_our_files_keep_everything(filled, tmp_path):
    model = filled(ImagePrompt(SMALL))
    save_image_prompt(model, tmp_path / "small.safetensors", {"note": 1})
    again = read_image_prompt(tmp_path / "small.safetensors")
    assert again.config == SMALL
    assert all(torch.equal(t, again.state_dict()[key]) for key, t in model.state_dict().items())
    with pytest.raises(ValueError, match="'small.safetensors' needs no video UNet"):
        read_image_prompt(tmp_path / "small.safetensors", {})


def test_what_does_not_fit_is_named(manifest):
    state = manifest("videobooth_mapper_stage1")
    cut = {key: t for key, t in state.items() if key != "mapping_patch_3.4.bias"}
    with pytest.raises(ValueError, match="nearest to an image prompt model.*missing mapper.patches.3.4.bias"):
        read_image_prompt(cut)
    wide = {**state, "mapping_2.3.bias": torch.empty(7, device="meta")}
    with pytest.raises(ValueError, match=r"misshaped weight at mapper.whole.2.3.bias: expected \(1024,\)"):
        read_image_prompt(wide)
    with pytest.raises(
        ValueError, match="not an image prompt model.*it looks like an AnimateDiff motion module"
    ):
        read_image_prompt(manifest("mm_sd_v15"))
    with pytest.raises(ValueError, match="no temporal attention"):
        read_image_prompt(state, manifest("mm_sd_v15"))
    with pytest.raises(ValueError, match="a mapper for 1 feature maps, expected 5"):
        read_image_prompt(
            {key: t for key, t in state.items() if key.startswith(("mapping_0", "mapping_patch_0"))}
        )


def test_an_own_file_without_metadata_is_refused(filled, tmp_path):
    from safetensors.torch import load_file, save_file

    save_image_prompt(filled(ImagePrompt(replace(SMALL, mapper=None))), tmp_path / "small.safetensors")
    save_file(load_file(tmp_path / "small.safetensors"), tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="'bare.safetensors' is not an image prompt model"):
        read_image_prompt(tmp_path / "bare.safetensors")
