"""The demo checkpoint: its keys are the host's, and the stock loader, text encoder and VAE compute what
training did.
"""

import os
from pathlib import Path

import pytest
import torch
from choreographer.tests.nodes.demo import make_demo_model, make_parts, write_checkpoint
from choreographer.tests.nodes.tiny import pack

pytestmark = pytest.mark.usefixtures("comfy_host")
TOLERANCE = 1e-4


def gap(value, reference):
    return float((value - reference).abs().max() / reference.abs().max())


@pytest.fixture(scope="module")
def parts():
    return make_parts()


@pytest.fixture(scope="module")
def loaded(comfy_host, parts, tmp_path_factory):
    """MODEL, CLIP and VAE from the node that users have."""
    import folder_paths

    import nodes

    pack("nodes.host.demo_family").register()
    path = write_checkpoint(parts, tmp_path_factory.mktemp("demo") / "demo.safetensors")
    folder_paths.add_model_folder_path("checkpoints", str(path.parent))
    with torch.inference_mode():
        return nodes.CheckpointLoaderSimple().load_checkpoint(path.name)


def test_every_unet_key_has_its_own_place_in_the_host(parts):
    base = pack("core.training.base_model")
    keys = [base.unet_key(key) for key in parts[0].state_dict()]
    own = make_demo_model().model.diffusion_model.state_dict()
    assert len(set(keys)) == len(keys) and set(keys) == set(own)
    assert all(own[base.unet_key(key)].shape == value.shape for key, value in parts[0].state_dict().items())
    with pytest.raises((KeyError, AttributeError)):
        base.unet_key("down_blocks.0.nothing.weight")


def test_the_loaded_unet_computes_the_same(parts, loaded):
    generator = torch.Generator().manual_seed(1)
    x, context = torch.randn(3, 4, 16, 16, generator=generator), torch.randn(3, 77, 64, generator=generator)
    steps = torch.tensor([3, 500, 999])
    with torch.inference_mode():
        reference = parts[0](x, steps, context, return_dict=False)[0]
        found = loaded[0].model.diffusion_model(x, steps, context=context)
    assert gap(found.float(), reference) < TOLERANCE
    assert type(loaded[0].model.model_config).__name__ == "DemoFamily"


@pytest.mark.parametrize(
    "text", ["", "a red circle moving left on grass, camera pans up", "it's a (blue:1.0) star; 12 x"]
)
def test_the_loaded_text_encoder_computes_the_same(parts, loaded, text):
    base = pack("core.training.base_model")
    words = base.Words(Path(os.environ["COMFYUI_PATH"]) / "comfy" / "sd1_tokenizer")
    plain = text.replace("(", "").replace(":1.0)", "")  # the host's weight syntax, with the weight 1
    with torch.inference_mode():
        reference = parts[1](words([plain])).last_hidden_state
        found = loaded[1].encode_from_tokens(loaded[1].tokenize(text))
    assert found.shape == reference.shape and gap(found.float().cpu(), reference) < TOLERANCE


def test_the_loaded_vae_computes_the_same(parts, loaded):
    generator = torch.Generator().manual_seed(2)
    latents, images = (
        torch.randn(2, 4, 8, 8, generator=generator),
        torch.rand(2, 64, 64, 3, generator=generator),
    )
    vae = loaded[2]
    with torch.inference_mode():
        seen = parts[2](images.movedim(-1, 1))
        encoded = vae.encode(images)
        raw = loaded[0].model.process_latent_in(encoded)
        decoded = vae.decode(loaded[0].model.process_latent_out(latents))
        drawn = parts[3](latents).clamp(0, 1).movedim(1, -1)
    assert gap(raw.float().cpu(), seen) < TOLERANCE, "what the UNet sees are the encoder's own latents"
    assert gap(decoded.float().cpu(), drawn) < TOLERANCE


def test_registering_twice_adds_one_family(comfy_host):
    import comfy.supported_models

    family = pack("nodes.host.demo_family")
    family.register()
    family.register()
    assert [model.__name__ for model in comfy.supported_models.models].count("DemoFamily") == 1


def test_a_stock_sd15_is_still_recognised_as_itself(comfy_host):
    import comfy.model_detection

    pack("nodes.host.demo_family").register()
    config = {"context_dim": 768, "model_channels": 320, "use_linear_in_transformer": False,
              "adm_in_channels": None,
              "use_temporal_attention": False}  # fmt: skip
    assert type(comfy.model_detection.model_config_from_unet_config(config, {})).__name__ == "SD15"


def test_a_packed_token_table_loads_with_nothing_for_unknown_words(parts, tmp_path, comfy_host):
    import folder_paths
    from safetensors.torch import load_file, save_file

    import nodes

    words = pack("core.training.word_table")
    tensors = load_file(write_checkpoint(parts, tmp_path / "whole.safetensors"))
    with pytest.raises(ValueError, match="has not been trained"):
        words.pack_words(tensors)
    tensors[words.TABLE][[736, 49406, 49407]] *= 10  # as if training had met these
    packed = words.pack_words(tensors)
    assert packed[words.ROWS].tolist() == [736, 49406, 49407] and packed[words.TABLE].shape == (3, 64)
    full = words.unpack_words(packed, 49408)
    assert full.keys() == tensors.keys() and torch.equal(full[words.TABLE][736], tensors[words.TABLE][736])
    save_file(packed, tmp_path / "packed.safetensors")
    folder_paths.add_model_folder_path("checkpoints", str(tmp_path))
    with torch.inference_mode():
        _, clip, _ = nodes.CheckpointLoaderSimple().load_checkpoint("packed.safetensors")
        loaded = next(v for k, v in clip.get_sd().items() if k.endswith("token_embedding.weight"))
    assert torch.equal(loaded.float(), full[words.TABLE].to(loaded.dtype).float())
    assert loaded[736].abs().sum() > 0 and loaded[737].abs().sum() == 0
