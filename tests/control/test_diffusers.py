"""Our network against diffusers' SparseControlNetModel with the same random weights."""

import pytest
import torch
from choreographer.core.control.layouts import read_video_controlnet

CLIPS, FRAMES, CONTEXT = 2, 6, 40
LATENT, PIXELS = (16, 16), (128, 128)


def theirs(filled, **options):
    diffusers = pytest.importorskip("diffusers")
    return filled(
        diffusers.SparseControlNetModel(
            block_out_channels=(32, 64, 64, 96), cross_attention_dim=CONTEXT, **options
        )
    )


def run_both(net, ours, channels, size):
    """Residuals of both for the same condition: their masks are a channel more of ours."""
    generator = torch.Generator().manual_seed(3)
    condition = torch.randn(CLIPS, channels, FRAMES, *size, generator=generator)
    mask = torch.zeros(CLIPS, 1, FRAMES, *size)
    mask[:, :, [0, 3]] = 1.0
    condition = condition * mask
    context = torch.randn(CLIPS * FRAMES, 7, CONTEXT, generator=generator)
    noisy = torch.randn(CLIPS, 4, FRAMES, *LATENT, generator=generator)
    with torch.no_grad():
        down, mid = net(noisy, 481, context, condition, 0.7, conditioning_mask=mask, return_dict=False)
        found = ours(torch.cat((condition, mask), 1).transpose(1, 2), 481, context, strength=0.7)
    return [*down, mid], [*found.down, found.mid]


def worst(expected, found):
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in zip(expected, found, strict=True))


def test_an_image_net_equals_theirs(filled):
    net = theirs(filled)
    ours = read_video_controlnet(net.state_dict())
    assert (ours.config.kind, ours.config.clip_norm) == ("image", True)
    assert worst(*run_both(net, ours, 4, LATENT)) <= 1e-4


def test_a_scribble_net_equals_theirs(filled):
    net = theirs(filled, use_simplified_condition_embedding=False, conditioning_channels=3)
    ours = read_video_controlnet(net.state_dict())
    assert (ours.config.kind, ours.config.condition) == ("pixels", 4)
    assert worst(*run_both(net, ours, 3, PIXELS)) <= 1e-4


def test_a_folder_is_read_with_its_heads_and_groups(filled, tmp_path):
    net = theirs(
        filled, attention_head_dim=4, motion_num_attention_heads=2, norm_num_groups=16,
        motion_max_seq_length=24, layers_per_block=1,
    )  # fmt: skip
    net.save_pretrained(tmp_path / "net")
    ours = read_video_controlnet(tmp_path / "net")
    config = ours.config
    assert (config.heads, config.motion_heads, config.norm_groups) == (4, 2, 16)
    assert (config.max_frames, config.layers_per_block, len(ours.controlnet_down_blocks)) == (24, 1, 8)
    expected, found = run_both(net, ours, 4, LATENT)
    assert worst(expected, found) <= 1e-4
    assert worst(expected, run_both(net, read_video_controlnet(net.state_dict()), 4, LATENT)[1]) > 1e-3
