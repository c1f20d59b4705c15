"""Sites and hooks: found by structure in the order the UNet runs, and gone without a trace."""

import pytest
import torch
from choreographer.core.motion.attach import MotionState, attach
from choreographer.core.motion.model import MotionConfig, MotionModel
from choreographer.core.motion.shared_norm import share_norms, shared_norm_targets
from choreographer.core.motion.sites import find_sites
from torch.nn import Linear

SD15 = (320, 640, 1280, 1280)


def comfy_unet(comfy_host, channels=64, mult=(1, 2, 2), depth=(1, 1, 0), device=None, context=32):
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    down = [d for d in depth for _ in range(2)]
    up = [d for d in depth for _ in range(3)]
    unet = UNetModel(
        image_size=8, in_channels=4, out_channels=4, model_channels=channels, num_res_blocks=[2] * len(mult),
        channel_mult=mult, num_heads=4, use_spatial_transformer=True, transformer_depth=down,
        transformer_depth_output=up, transformer_depth_middle=1, context_dim=context, legacy=False,
        device=device, dtype=torch.float32,
    )  # fmt: skip
    return unet.eval()


def run(unet, x, context):
    with torch.no_grad():
        return unet(x, torch.full((x.shape[0],), 400.0), context, transformer_options={})


@pytest.fixture
def small(comfy_host, random_weights):
    unet = random_weights(comfy_unet(comfy_host), 1)
    motion = random_weights(MotionModel(MotionConfig((64, 128, 128), heads=4, mid_block=True)), 2)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(8, 4, 8, 8, generator=generator)
    return unet, motion, x, torch.randn(8, 5, 32, generator=generator)


@pytest.mark.parametrize("mid_block", [False, True])
def test_sites_of_the_full_size_unet(comfy_host, mid_block):
    unet = comfy_unet(comfy_host, 320, (1, 2, 4, 4), (1, 1, 1, 0), device="meta", context=768)
    sites, config = find_sites(unet, mid_block), MotionConfig(SD15, mid_block=mid_block)
    assert [(site.name, site.channels) for site in sites] == list(config.sites())
    assert len(sites) == 20 + mid_block
    names = [type(site.module).__name__ for site in sites]
    assert names[:8] == ["SpatialTransformer"] * 6 + ["ResBlock"] * 2
    assert names[-12:] == ["ResBlock"] * 3 + ["SpatialTransformer"] * 9
    order = {id(module): i for i, module in enumerate(unet.modules())}
    positions = [order[id(site.module)] for site in sites]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("mult", "depth"), [((1, 2), (0, 1)), ((1, 2, 2), (1, 1, 0)), ((1, 1, 2, 3), (0, 0, 0, 0))]
)
def test_other_depths_and_widths(comfy_host, mult, depth):
    unet = comfy_unet(comfy_host, 32, mult, depth)
    config = MotionConfig(tuple(32 * m for m in mult), mid_block=True)
    assert [(site.name, site.channels) for site in find_sites(unet, True)] == list(config.sites())


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="got Linear"):
        find_sites(Linear(2, 2), False)


def test_hooks_act_only_while_attached_and_active(small):
    unet, motion, x, context = small
    keys, plain = list(unet.state_dict()), run(unet, x, context)
    state = MotionState(frames=4)
    attachment = attach(motion, find_sites(unet, True), state)
    assert list(unet.state_dict()) == keys
    moved = run(unet, x, context)
    assert (moved - plain).abs().max() > 0.01 * plain.abs().max()
    assert torch.equal(run(unet, x, context), moved)
    state.active = False
    assert torch.equal(run(unet, x, context), plain)
    state.active = True
    attachment.remove()
    attachment.remove()
    assert torch.equal(run(unet, x, context), plain)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())


def test_clips_of_one_batch_do_not_mix(small):
    unet, motion, x, context = small
    attachment = attach(motion, find_sites(unet, True), MotionState(frames=4))
    together, alone = run(unet, x, context), run(unet, x[4:], context[4:])
    attachment.remove()
    assert (together[4:] - alone).abs().max() <= 1e-5 * alone.abs().max()


def test_two_modules_add_up_and_part_again(small, random_weights):
    unet, motion, x, context = small
    other = random_weights(MotionModel(MotionConfig((64, 128, 128), heads=4)), 9)
    first = attach(motion, find_sites(unet, True), MotionState(frames=4))
    one = run(unet, x, context)
    second = attach(other, find_sites(unet, False), MotionState(frames=4))
    assert not torch.equal(run(unet, x, context), one)
    second.remove()
    assert torch.equal(run(unet, x, context), one)
    first.remove()


def test_a_module_for_another_model_is_refused_before_any_hook(small):
    unet, _, _, _ = small
    wide, deep = MotionModel(MotionConfig((64, 128, 256))), MotionModel(MotionConfig((64, 128, 128, 128)))
    for motion, said in (
        (wide, "256 wide at down_blocks.2.motion_modules.0"),
        (deep, "20 parts, this UNet has 15"),
    ):
        with pytest.raises(ValueError, match=said):
            attach(motion, find_sites(unet, False), MotionState(frames=4))
    with pytest.raises(ValueError, match="15 parts.*16 places"):
        attach(MotionModel(MotionConfig((64, 128, 128))), find_sites(unet, True), MotionState(frames=4))
    assert not any(module._forward_hooks for module in unet.modules())


def test_shared_norms_are_the_45_of_the_full_size_unet(comfy_host):
    unet = comfy_unet(comfy_host, 320, (1, 2, 4, 4), (1, 1, 1, 0), device="meta", context=768)
    names = shared_norm_targets(unet)
    assert len(names) == len(set(names)) == 45 and names[-1] == "out.0"
    assert all(type(unet.get_submodule(name)).__name__ == "GroupNorm" for name in names)


def test_shared_norms_take_statistics_over_a_clip_and_no_further(small):
    unet, _, x, context = small
    plain, keys = run(unet, x, context), list(unet.state_dict())
    state = MotionState(frames=4)
    attachment = share_norms(unet, state)
    shared = run(unet, x, context)
    assert (shared - plain).abs().max() > 1e-3 * plain.abs().max() and list(unet.state_dict()) == keys
    assert (run(unet, x[4:], context[4:]) - shared[4:]).abs().max() <= 1e-5 * shared.abs().max()
    still, still_context = x[:1].expand(4, -1, -1, -1), context[:1].expand(4, -1, -1)
    still_shared = run(unet, still, still_context)
    state.active = False
    assert torch.equal(run(unet, x, context), plain)
    # Frames that are all alike have the statistics of one of them.
    assert (run(unet, still, still_context) - still_shared).abs().max() <= 1e-4 * still_shared.abs().max()
    attachment.remove()
    assert torch.equal(run(unet, x, context), plain)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())
