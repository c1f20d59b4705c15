"""The prompt schedule node, and its conditioning in a plain run of the stock sampler."""

import pytest
import torch
from choreographer.tests.nodes.test_image_attention import applied
from choreographer.tests.nodes.tiny import (
    CONTEXT,
    hook_count,
    make_cond,
    make_model,
    make_motion,
    pack,
    sample,
)

pytestmark = pytest.mark.usefixtures("comfy_host")


class Clip:
    """Stands for the host's CLIP: embeddings that depend on the text alone, 7 tokens per 20 letters."""

    def __init__(self, pooled=True):
        self.texts, self.pooled = [], pooled

    def tokenize(self, text):
        self.texts.append(text)
        return text

    def encode_from_tokens(self, tokens, return_pooled, return_dict):
        assert return_pooled and return_dict
        generator = torch.Generator().manual_seed(sum(map(ord, tokens)))
        length = 7 * (1 + len(tokens) // 20)
        cond = torch.randn(1, length, CONTEXT, generator=generator)
        return {"cond": cond, "pooled_output": cond[:, 0] if self.pooled else None}


def schedule(text, frames=8, easing="linear", clip=None, **extra):
    return (
        pack("nodes.prompts").PromptSchedule.execute(clip or Clip(), text, frames, easing, **extra).result[0]
    )


def test_one_embedding_a_frame_blended_between_keys():
    cond, extra = schedule("0: red\n4: blue")[0]
    red, blue = (schedule(f"0: {word}", 1)[0][0][0] for word in ("red", "blue"))
    assert cond.shape == (8, 7, CONTEXT) and extra["pooled_output"].shape == (8, CONTEXT)
    assert torch.equal(cond[0], red) and torch.equal(cond[4], blue) and torch.equal(cond[7], blue)
    assert torch.allclose(cond[1], 0.75 * red + 0.25 * blue)
    assert torch.equal(extra["pooled_output"][0], red[0])


def test_prefix_and_suffix_surround_every_prompt():
    clip = Clip(pooled=False)
    extra = schedule('0: red\n4: ""', clip=clip, prefix="photo", suffix="grass")[0][1]
    assert clip.texts == ["photo, red, grass", "photo, grass", ""]  # the last is the negative prompt
    assert "pooled_output" not in extra


def test_each_frame_is_sampled_with_its_prompt():
    """Without motion, frame i equals a run whose prompt is that of frame i throughout; lengths differ."""
    model = make_model()
    scheduled = schedule("0: red\n2: a much longer prompt than the other one\n4: blue", 6)
    assert scheduled[0][0].shape == (6, 14, CONTEXT)
    run = sample(model, 6, positive=scheduled)
    for frame, text in ((0, "red"), (2, "a much longer prompt than the other one"), (4, "blue"), (5, "blue")):
        alone = sample(model, 6, positive=schedule(f"0: {text}", 1))
        assert (run[frame] - alone[frame]).abs().max() <= 1e-4 * alone.abs().max()
    assert not torch.allclose(run, sample(model, 6, positive=make_cond(1)), atol=1e-2)


def test_mistakes_stop_before_any_encoding():
    clip = Clip()
    with pytest.raises(ValueError, match="line 2: expected 'frame: text'"):
        schedule("0: red\nblue", clip=clip)
    with pytest.raises(ValueError, match="key 8 is past the last frame of the clip, 7"):
        schedule("0: red\n8: blue", clip=clip)
    with pytest.raises(ValueError, match="Prompt Schedule has no text encoder"):
        pack("nodes.prompts").PromptSchedule.execute(None, "0: red", 8, "linear")
    with pytest.raises(ValueError, match="^Negative prompt schedule line 2: expected 'frame: text'"):
        schedule("0: a", clip=clip, negative="0: b\nbad")
    with pytest.raises(ValueError, match="^Negative prompt schedule has two entries for frame 0"):
        schedule("0: a", clip=clip, negative="0: b\n0: c")
    assert clip.texts == []


def test_progress_and_interrupt():
    from comfy import model_management
    from comfy.utils import set_progress_bar_global_hook

    progress, seen = pack("nodes.host.progress"), []
    set_progress_bar_global_hook(lambda *args, **kwargs: seen.append(args[:2]))
    try:
        assert list(progress.track("abc")) == ["a", "b", "c"]
        progress.reporter()(2, 5)
        model_management.interrupt_current_processing(True)
        with pytest.raises(model_management.InterruptProcessingException):
            list(progress.track("abc"))
    finally:
        model_management.interrupt_current_processing(False)
        set_progress_bar_global_hook(None)
    assert seen == [(1, 3), (2, 3), (3, 3), (2, 5)]


@pytest.mark.parametrize("kind", ["motion", "tuning", "image attention", "windows", "longer windows"])
def test_a_schedule_of_another_length_than_the_clip_is_refused(kind):
    model, windows = make_model(), pack("nodes.host.windows").apply_context_windows
    make = {
        "motion": lambda: pack("nodes.host.patching").apply_motion_module(model, make_motion()),
        "tuning": lambda: pack("nodes.host.tuning").apply_tuning(model, None),
        "image attention": lambda: applied(model),
        "windows": lambda: windows(model, "standard_static", "flat", 4, 2, 1, False),
        "longer windows": lambda: windows(model, "standard_static", "flat", 16, 2, 1, False),
    }
    made, scheduled = make[kind](), schedule("0: red\n7: blue", 8)
    for prompts in ({"positive": scheduled}, {"negative": scheduled}):
        with pytest.raises(ValueError, match="The prompt schedule has 8 frames, the latent has 6: set"):
            sample(made, 6, steps=1, **prompts)
    assert sample(made, 8, steps=1, positive=scheduled).shape[0] == 8 and hook_count(model) == 0
