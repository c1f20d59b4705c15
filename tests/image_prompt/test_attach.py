"""Hooks on a UNet: nothing remains, nothing changes without a picture, what is learnt comes in."""

from dataclasses import replace

import pytest
import torch
from choreographer.core.image_prompt.attach import (
    PromptState,
    attach,
    find_blocks,
    unweighted,
)
from choreographer.core.image_prompt.network import ImagePrompt, ImagePromptConfig, Place

FRAMES = 3


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def clip():
    return drawn(FRAMES, 4, 8, 8, seed=1), drawn(FRAMES, 5, 24, seed=2)


@torch.no_grad()
def run(unet, clip):
    return unet(clip[0], 500, clip[1]).sample


def capture(unet, state, picture):
    state.capture, state.frames, state.pictures = {}, 1, {}
    run(unet, (picture, torch.zeros(len(picture), 5, 24)))
    state.pictures, state.capture, state.frames = state.capture, None, FRAMES
    state.weights = torch.ones(FRAMES, len(picture))


def hooks(unet):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in unet.modules())


def config(unet, **parts):
    return ImagePromptConfig(places=tuple(block.place for block in find_blocks(unet)), **parts)


def test_without_weights_only_a_picture_changes_anything(unet, clip):
    plain = run(unet, clip)
    state = PromptState(frames=FRAMES, size=(8, 8), base=(8, 8))
    handles = attach(unweighted(unet), unet, state)
    assert torch.equal(run(unet, clip), plain)
    capture(unet, state, drawn(1, 4, 8, 8, seed=3))
    assert set(state.pictures) == {block.place.name for block in find_blocks(unet)}
    assert not torch.allclose(run(unet, clip), plain, atol=1e-3)
    state.weights = torch.zeros(FRAMES, 1)
    assert torch.equal(run(unet, clip), plain)
    state.weights = torch.tensor([[0.0], [1.0], [0.0]])
    changed = run(unet, clip)
    assert torch.equal(changed[0], plain[0]) and not torch.allclose(changed[1], plain[1], atol=1e-3)
    state.active = False
    assert torch.equal(run(unet, clip), plain)
    for handle in handles:
        handle.remove()
    assert hooks(unet) == 0


def test_places_can_be_left_out_and_pictures_of_other_sizes_fit(unet, clip):
    plain = run(unet, clip)
    names = frozenset(block.place.name for block in find_blocks(unet))
    state = PromptState(frames=FRAMES, size=(8, 8), base=(8, 8))
    attach(unweighted(unet), unet, state)
    capture(unet, state, drawn(2, 4, 12, 4, seed=3))
    state.skip = names
    assert torch.equal(run(unet, clip), plain)
    state.skip = frozenset(sorted(names)[1:])
    assert not torch.allclose(run(unet, clip), plain, atol=1e-4)


def test_positions_begin_at_nought_and_move_with_the_window(unet, clip):
    state = PromptState(frames=FRAMES, size=(8, 8), base=(8, 8))
    attach(unweighted(unet), unet, state)
    capture(unet, state, drawn(1, 4, 8, 8, seed=3))
    without = run(unet, clip)
    state.gain = 0.5
    first = run(unet, clip)
    state.numbers = torch.arange(16, 16 + FRAMES)
    later = run(unet, clip)
    assert not torch.allclose(without, first, atol=1e-3) and not torch.allclose(first, later, atol=1e-4)


def test_gains_in_fp8_are_added_to(unet, clip):
    found = []
    for kind in (torch.float32, torch.float8_e4m3fn):
        state = PromptState(frames=FRAMES, size=(8, 8), base=(8, 8), gain=0.5)
        model = ImagePrompt(config(unet, gains=True)).to(kind)
        handles = attach(model, unet, state)
        capture(unet, state, drawn(1, 4, 8, 8, seed=3))
        found.append(run(unet, clip))
        for handle in handles:
            handle.remove()
    assert torch.equal(*found)


def test_fresh_weights_that_copy_the_unets_give_the_same(unet, clip):
    """K_exemplar = K_new = K and the text's own: as without weights, where every frame sees the picture."""
    picture = drawn(1, 4, 8, 8, seed=3)
    state = PromptState(frames=FRAMES, size=(8, 8), base=(8, 8))
    handles = attach(unweighted(unet), unet, state)
    capture(unet, state, picture)
    expected = run(unet, clip)
    for handle in handles:
        handle.remove()
    model = ImagePrompt(config(unet, text=True, fine=True, gains=True)).eval()
    with torch.no_grad():
        for block, weights in zip(find_blocks(unet), model.places, strict=True):
            for pair in (weights.frame, weights.picture):
                pair.k.weight.copy_(block.module.attn1.to_k.weight)
                pair.v.weight.copy_(block.module.attn1.to_v.weight)
            weights.text.k.weight.copy_(block.module.attn2.to_k.weight)
            weights.text.v.weight.copy_(block.module.attn2.to_v.weight)
    attach(model, unet, state)
    capture(unet, state, picture)
    assert (run(unet, clip) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_training_reaches_every_weight(unet, clip, filled):
    model = filled(ImagePrompt(config(unet, text=True, fine=True, gains=True))).train()
    unet.requires_grad_(False)
    state = PromptState(frames=1, size=(8, 8), base=(8, 8), capture={})
    attach(model, unet, state)
    unet(drawn(1, 4, 8, 8, seed=3), 500, torch.zeros(1, 5, 24))
    state.pictures, state.capture, state.frames = state.capture, None, FRAMES
    state.weights = torch.ones(FRAMES, 1)
    unet(clip[0], 500, clip[1]).sample.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_a_model_for_another_unet_is_refused(unet):
    good = config(unet)
    wide = replace(good, places=(replace(good.places[0], channels=320), *good.places[1:]))
    with pytest.raises(ValueError, match="is 320 wide at down_blocks.0.attentions.0.* UNet is 32 wide there"):
        attach(ImagePrompt(wide, device="meta"), unet, PromptState())
    with pytest.raises(ValueError, match="has weights for down_blocks.9"):
        attach(ImagePrompt(replace(good, places=(Place("down_blocks.9", 8, 8),))), unet, PromptState())
    assert hooks(unet) == 0
