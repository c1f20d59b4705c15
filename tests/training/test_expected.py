"""The mean clip of a caption."""

from types import SimpleNamespace

import pytest
import torch
from choreographer.core.training.clips import Clips
from choreographer.core.training.diffusion import Batch, _clip_loss
from choreographer.core.training.expected import ExpectedClips, word_features
from choreographer.core.training.losses import Diffusion

FRAMES = 6


def test_words_and_their_pairs_in_order():
    assert word_features("A star, moving left") >= {"a", "star", ("star", "moving"), ("moving", "left")}
    assert ("left", "star") not in word_features("a star moving left")
    assert word_features("") == set()


def noisy_clips(count=400):
    """Clips of two colours and two directions: what moves is a ramp over the frames, under strong noise."""
    generator = torch.Generator().manual_seed(3)
    ramp = torch.linspace(-1, 1, FRAMES).view(-1, 1, 1, 1)
    clips, captions = [], []
    for number in range(count):
        colour, way = ("red", "blue")[number % 2], ("left", "right")[number // 2 % 2]
        clip = 2.0 * torch.randn(FRAMES, 4, 2, 2, generator=generator)
        clip[:, 0] += 1.0 if colour == "red" else -1.0
        clips.append((clip + (ramp if way == "left" else -ramp)).half())
        captions.append(f"a {colour} star moving {way}")
    return clips, captions, ramp


def test_what_words_say_is_found_under_noise():
    clips, captions, ramp = noisy_clips()
    expected = ExpectedClips(clips, captions)(["a red star moving left", "a blue star moving right"])
    assert expected.shape == (2, FRAMES, 4, 2, 2)
    truth = ramp.expand(FRAMES, 4, 2, 2).clone()
    truth[:, 0] += 1
    for clip, sign in zip(expected, (1, -1), strict=True):
        assert (clip - sign * truth).square().mean() < 0.1 * truth.square().mean()
        # a single clip does not say it
        assert (clips[0].float() - truth).square().mean() > 2 * truth.square().mean()


def test_pairs_of_words_say_what_words_alone_cannot():
    """Red things go left and blue things right: the direction is in the pair, not in either word."""
    base = torch.ones(FRAMES, 4, 2, 2)
    signs = {"a red star on grass": 1, "a blue star on grass": -1, "a red star on sand": -1}
    signs |= {"a blue star on sand": 1}
    captions = [text for text in signs for _ in range(50)]
    expected = ExpectedClips([signs[text] * base for text in captions], captions)
    for text, sign in signs.items():
        assert torch.allclose(expected([text])[0], sign * base, atol=0.1)


def test_places_and_unknown_words():
    clips, captions, _ = noisy_clips(40)
    expected = ExpectedClips(clips, captions)
    whole = expected(captions[:2])
    assert torch.equal(expected(captions[:2], torch.tensor([1, 4])), whole[:, [1, 4]])
    mean = torch.stack(clips).float().mean(0)
    assert torch.allclose(expected([""])[0], mean, atol=1e-3)  # of no words: the mean of all
    assert torch.equal(expected(["a red star moving left"]), expected(["a red star moving left, unheard"]))
    with pytest.raises(ValueError, match="got 0 and 0"):
        ExpectedClips([], [])


def test_blind_items_lead_to_the_mean_clip():
    clips, captions, _ = noisy_clips(40)
    data, diffusion, seen = Clips(clips, captions), Diffusion(("linear",), blind=1.0), {}

    class Perfect:
        """Predicts the noise that leads to the mean clip of the caption."""

        device = "cpu"

        def predict(self, noisy, steps, texts, frames, places):
            goal = data.expected(texts, places).flatten(0, 1)
            kept = diffusion.kept[0, steps].repeat_interleave(frames).view(-1, 1, 1, 1)
            seen["places"] = places
            return (noisy - kept.sqrt() * goal) / (1 - kept).sqrt()

    batch = Batch(clips=3, frames=2, span=FRAMES, places=(0, 2, 5), blind=1.0)
    loss = _clip_loss(Perfect(), data, diffusion, batch, torch.Generator().manual_seed(1), {})
    assert loss < 1e-10 and set(seen["places"].tolist()) <= {0, 2, 5}


def test_blind_items_need_whole_clips():
    clips, captions, _ = noisy_clips(4)
    with pytest.raises(ValueError, match="span"):
        _clip_loss(
            SimpleNamespace(device="cpu"),
            Clips(clips, captions),
            Diffusion(("linear",), blind=0.5),
            Batch(clips=1, frames=3, blind=0.5),
            torch.Generator().manual_seed(1),
            {},
        )
