"""Sparse-causal attention and tunings in a UNet, by hooks."""

import pytest
import torch
from choreographer.core.image_prompt.attach import find_blocks
from choreographer.core.training.tune import fresh_tuning
from choreographer.core.tuning.attach import TuningState, attach
from choreographer.tests.tuning.conftest import filled

FRAMES = 4


def clip(seed=1, frames=FRAMES, clips=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(clips * frames, 4, 8, 8, generator=generator)
    return x, torch.randn(clips * frames, 5, 24, generator=generator)


def run(unet, x, text):
    with torch.no_grad():
        return unet(x, 500, text).sample


def test_each_frame_sees_the_first_and_the_one_before_alone(unet):
    x, text = clip()
    handles = attach(unet, TuningState(frames=FRAMES))
    before = run(unet, x, text)
    changed = x.clone()
    changed[1] += 1.0
    after = run(unet, changed, text)
    for handle in handles:
        handle.remove()
    moved = [(after[f] - before[f]).abs().max().item() > 0 for f in range(FRAMES)]
    assert moved[1] and moved[2] and not moved[0]
    assert not torch.equal(run(unet, x, text), before)


def test_a_clip_of_one_frame_is_as_without(unet):
    x, text = clip(frames=1)
    plain = run(unet, x, text)
    handles = attach(unet, TuningState(frames=1))
    assert torch.allclose(run(unet, x, text), plain, atol=1e-5)
    for handle in handles:
        handle.remove()


def test_equal_frames_stay_as_they_are(unet):
    x, text = (part[:1].expand(FRAMES, *part.shape[1:]).contiguous() for part in clip())
    plain = run(unet, x, text)
    handles = attach(unet, TuningState(frames=FRAMES))
    assert torch.allclose(run(unet, x, text), plain, atol=1e-4)
    for handle in handles:
        handle.remove()


def test_clips_of_a_batch_do_not_mix(unet):
    x, text = clip(clips=2)
    handles = attach(unet, TuningState(frames=FRAMES), filled(fresh_tuning(unet, shared_norm=True)))
    both = run(unet, x, text)
    alone = torch.cat([run(unet, *(part.chunk(2)[i] for part in (x, text))) for i in range(2)])
    assert torch.allclose(both, alone, atol=1e-4)
    for handle in handles:
        handle.remove()


def test_a_fresh_tuning_changes_nothing_and_a_filled_one_by_its_effect(unet):
    x, text = clip()
    state = TuningState(frames=FRAMES, causal=0.0)
    plain = run(unet, x, text)
    handles = attach(unet, state, fresh_tuning(unet))
    assert torch.equal(run(unet, x, text), plain)
    handles.append(attach(unet, state, filled(fresh_tuning(unet)))[0])
    assert not torch.allclose(run(unet, x, text), plain, atol=1e-2)
    state.effect = 0.0
    assert torch.equal(run(unet, x, text), plain)
    state.effect, state.active = 1.0, False
    assert torch.equal(run(unet, x, text), plain)
    for handle in handles:
        handle.remove()
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in unet.modules())


def test_half_causal_is_half_way_in_the_first_block(unet):
    x, text = clip()
    block, seen = find_blocks(unet)[0].module.attn1, {}
    for share in (0.0, 0.5, 1.0):
        handles = attach(unet, TuningState(frames=FRAMES, causal=share))

        def keep(_layer, _inputs, output, share=share):
            seen[share] = output

        watch = block.register_forward_hook(keep)
        run(unet, x, text)
        for handle in (*handles, watch):
            handle.remove()
    assert torch.allclose(seen[0.5], (seen[0.0] + seen[1.0]) / 2, atol=1e-5)


def test_another_model_is_refused_by_name(unet):
    from choreographer.core.training.base_model import make_unet

    with pytest.raises(ValueError, match="is 32 wide at down_blocks.0.attentions.0.transformer_blocks.0"):
        attach(make_unet((64, 128), context=24, heads=4), TuningState(), fresh_tuning(unet))
