"""Our modules on diffusers' and on ComfyUI's UNet against diffusers' UNetMotionModel, with the same random
weights.

Two things differ between diffusers and the published AnimateDiff code, and both sides are checked:
- the modules' own GroupNorm: diffusers takes its statistics over all frames of a clip, AnimateDiff per frame.
  Files in diffusers' layout run as diffusers runs them, files in AnimateDiff's layout as AnimateDiff does;
- v1's ResBlock norms over frames: UNetMotionModel keeps them per frame even with a v1 adapter, so there v1
  differs from v3 only in its 24 positions.
"""

import copy

import pytest
import torch
from choreographer.core.motion.attach import MotionState, attach
from choreographer.core.motion.layouts import fuse_module, read_motion_module, site_key
from choreographer.core.motion.sites import find_sites
from choreographer.core.motion.transformer import TemporalTransformer

WIDTHS, CONTEXT, HEADS = (32, 64, 64, 64), 32, 8
# (position table, frames, middle block) of AnimateDiff v1, v2, v3.
VERSIONS = {"v1": (24, 16, False), "v2": (32, 16, True), "v3": (32, 32, False)}


def fill(module, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            spread = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.1
            weight.copy_(torch.randn(weight.shape, generator=generator) * spread)
            if weight.ndim == 1 and name.endswith("weight"):
                weight.add_(1.0)
    return module.eval()


def image_unet(diffusers):
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=WIDTHS, cross_attention_dim=CONTEXT, attention_head_dim=HEADS, sample_size=16
    )
    return fill(unet, 1)


def adapter(diffusers, version):
    positions, _, mid_block = VERSIONS[version]
    made = diffusers.MotionAdapter(
        block_out_channels=WIDTHS,
        motion_num_attention_heads=HEADS,
        motion_max_seq_length=positions,
        use_motion_mid_block=mid_block,
    )
    return fill(made, 2)


def inputs(frames, clips=2):
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(
        clips, 4, frames, 16, 16, generator=generator
    )  # 2x2 in the middle: norms need a few values
    text = torch.randn(clips, 7, CONTEXT, generator=generator)
    return latents, torch.tensor(481), text.repeat_interleave(frames, dim=0)


def per_frame_norms(motion_unet):
    """Give diffusers' motion modules the norm statistics of the published code."""
    for name, module in motion_unet.named_modules():
        if ".motion_modules." in name and isinstance(module, torch.nn.GroupNorm):
            inner = module.forward
            module.forward = lambda x, inner=inner: (
                inner(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)
            )


def in_published_names(state):
    found = {key: site_key(key) for key in state}
    return {f"{site}.temporal_transformer.{rest}": state[key] for key, (site, rest) in found.items()}


def reference(diffusers, unet, made, frames, published):
    whole = diffusers.UNetMotionModel.from_unet2d(unet, made).eval()
    if published:
        per_frame_norms(whole)
    with torch.no_grad():
        return whole(*inputs(frames)).sample  # B C F H W


def run_folded(call, motion, unet, mid_block, frames):
    latents, time, text = inputs(frames)
    attachment = attach(motion, find_sites(unet, mid_block), MotionState(frames=frames))
    with torch.no_grad():
        out = call(latents.transpose(1, 2).flatten(0, 1), time, text)
    attachment.remove()
    return out.unflatten(0, (-1, frames)).transpose(1, 2)


def error(value, expected):
    return ((value - expected).abs().max() / expected.abs().max()).item()


def comfy_unet(unet):
    """ComfyUI's UNet with the weights of diffusers' `unet`."""
    import comfy.utils
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    config = {
        "in_channels": 4, "out_channels": 4, "model_channels": WIDTHS[0], "num_res_blocks": [2] * 4,
        "channel_mult": tuple(width // WIDTHS[0] for width in WIDTHS), "num_heads": HEADS,
        "use_spatial_transformer": True, "transformer_depth": [1] * 6 + [0] * 2, "context_dim": CONTEXT,
        "transformer_depth_output": [1] * 9 + [0] * 3, "transformer_depth_middle": 1, "legacy": False,
    }  # fmt: skip
    names = comfy.utils.unet_to_diffusers(copy.deepcopy(config))  # both take their lists apart
    theirs = unet.state_dict()
    made = UNetModel(image_size=8, dtype=torch.float32, **copy.deepcopy(config)).eval()
    made.load_state_dict({ours: theirs[key] for key, ours in names.items() if key in theirs})
    return made


@pytest.mark.parametrize("published", [False, True], ids=["diffusers file", "AnimateDiff file"])
@pytest.mark.parametrize("version", VERSIONS)
def test_both_unets_equal_unet_motion_model(diffusers, comfy_host, version, published):
    positions, frames, mid_block = VERSIONS[version]
    unet, made = image_unet(diffusers), adapter(diffusers, version)
    expected = reference(diffusers, unet, made, frames, published)
    state = made.state_dict()
    motion = read_motion_module(in_published_names(state) if published else state)
    assert (motion.config.max_frames, motion.config.mid_block) == (positions, mid_block)
    assert motion.config.shared_norm == (published and version == "v1")
    assert motion.config.clip_norm != published

    def on_diffusers(x, time, text):
        return unet(x, time, text).sample

    def on_comfy(x, time, text):
        return comfy(x, time.expand(x.shape[0]).float(), text, transformer_options={})

    latents, time, text = inputs(frames)
    with torch.no_grad():
        plain = on_diffusers(latents[:, :, 0], time, text[::frames])
    assert error(plain, expected[:, :, 0]) > 0.05  # the modules matter
    assert error(run_folded(on_diffusers, motion, unet, mid_block, frames), expected) <= 1e-4
    comfy = comfy_unet(unet)
    assert error(run_folded(on_comfy, motion, comfy, mid_block, frames), expected) <= 1e-4


def test_an_adapter_folder_is_read_with_its_heads(diffusers, tmp_path):
    made = diffusers.MotionAdapter(
        block_out_channels=WIDTHS,
        motion_num_attention_heads=4,
        motion_norm_num_groups=16,
        motion_max_seq_length=20,
    )
    made.save_pretrained(tmp_path / "adapter")
    config = read_motion_module(tmp_path / "adapter").config
    assert (config.heads, config.norm_groups, config.max_frames, config.mid_block) == (4, 16, 20, True)
    assert (config.channels, config.layers_per_block, config.attentions) == (WIDTHS, 2, 2)


@pytest.mark.parametrize("attentions", [1, 2])
def test_one_module_with_one_attention_as_in_sparsectrl(diffusers, attentions):
    from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

    theirs = AnimateDiffTransformer3D(
        8, 8, 64, double_self_attention=attentions == 2, positional_embeddings="sinusoidal",
        num_positional_embeddings=32, norm_num_groups=32,
    )  # fmt: skip
    fill(theirs, 4)
    named = {f"down_blocks.0.motion_modules.0.{key}": value for key, value in theirs.state_dict().items()}
    parts = {site_key(key)[1]: value for key, value in named.items()}
    weights, missing, unexpected = fuse_module(parts, attentions)
    assert (missing, unexpected) == ([], [])
    ours = TemporalTransformer(64, attentions=attentions, clip_norm=True)
    ours.load_state_dict(weights)
    x = torch.randn(2 * 16, 64, 6, 5, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = theirs(x, num_frames=16)
        assert error(ours(x, 16), expected) <= 1e-4
    assert error(x, expected) > 0.05
