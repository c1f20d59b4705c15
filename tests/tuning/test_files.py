"""Files of tunings: published ones by their manifests, ours there and back."""

import pytest
import torch
from choreographer.core.training.tune import fresh_tuning
from choreographer.core.tuning.layouts import published_weights, read_tuning, save_tuning
from choreographer.tests.tuning.conftest import filled
from safetensors.torch import load_file


@pytest.mark.parametrize("name", ["tuneavideo_unet3d_sd15", "tuneavideo_unet3d_sd21"])
def test_published_unets_load(manifest, name):
    state = manifest(name)
    tuning = read_tuning(state)
    assert len(tuning.places) == 16 and tuning.config.whole and tuning.config.shared_norm
    named = published_weights(tuning)
    assert all(state[key].shape == weight.shape for key, weight in named.items())


def test_what_is_trained_has_the_published_names_and_size(manifest):
    tuning = read_tuning(manifest("tuneavideo_unet3d_sd15"))
    tuning.freeze_norms()
    trained = {key: weight for key, weight in published_weights(tuning).items() if weight.requires_grad}
    expected = manifest("tuneavideo_trainable_sd15")
    assert {key: weight.shape for key, weight in trained.items()} == {k: w.shape for k, w in expected.items()}
    assert sum(weight.numel() for weight in trained.values()) == pytest.approx(74.35e6, rel=1e-3)


@pytest.mark.parametrize("name", ["tuneavideo_trainable_sd15", "tuneavideo_trainable_sd21"])
def test_the_trained_part_alone_loads(manifest, name):
    assert len(read_tuning(manifest(name)).places) == 16


def test_ours_comes_back_and_its_queries_have_a_loras_names(unet, tmp_path):
    tuning = filled(fresh_tuning(unet, shared_norm=True, name="ball"))
    save_tuning(tuning, tmp_path / "ball.safetensors", {"training": {"steps": 3}})
    state = load_file(tmp_path / "ball.safetensors")
    key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.diff"
    assert key in state and "temporal.mid_block.attentions.0.transformer_blocks.0.norm_temp.bias" in state
    again = read_tuning(tmp_path / "ball.safetensors")
    assert again.config == tuning.config
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), tuning.parameters(), strict=True))


def test_other_files_are_refused(manifest):
    with pytest.raises(ValueError, match="is not a video tuning: .*it looks like"):
        read_tuning(manifest("mm_sd_v15_v2"))
    state = manifest("tuneavideo_unet3d_sd15")
    del state["mid_block.attentions.0.transformer_blocks.0.attn_temp.to_k.weight"]
    with pytest.raises(ValueError, match="lacks mid_block.attentions.0.transformer_blocks.0 temporal.k"):
        read_tuning(state)
