"""The ID token recipe: its loss, its draws, and that only what is masked is learnt."""

import pytest
import torch
from choreographer.core.identity.tokens import TokenRows
from choreographer.core.training.identity import (
    Pictures,
    UniformDiffusion,
    masked_loss,
    offset_noise,
    train_tokens,
)
from choreographer.core.training.loop import Plan


class Painter:
    """A family whose prediction is the mean of its tokens everywhere."""

    device = torch.device("cpu")

    def __init__(self, tokens):
        self.tokens, self.texts = tokens, []

    def predict(self, noisy, steps, texts):
        self.texts.append(tuple(texts))
        return self.tokens.vectors.mean().expand_as(noisy)


def pictures(count=5, side=6):
    """Latents of zeros; a mask on the left half, a picture everywhere but the last row."""
    masks, there = torch.zeros(count, 1, side, side), torch.ones(count, 1, side, side)
    masks[..., : side // 2] = 1
    there[..., -1, :] = 0
    return Pictures(torch.zeros(count, 4, side, side), masks, there, tuple(f"text {i}" for i in range(count)))


def plan(tmp_path, steps=6, **more):
    return Plan(steps, tmp_path / "run", constant=True, **{"learning_rate": 1e-2, **more})


def test_masked_loss_is_the_mean_inside_each_items_own_mask():
    noise = torch.zeros(2, 4, 4, 4)
    predicted = torch.ones(2, 4, 4, 4) * 100
    masks = torch.zeros(2, 1, 4, 4)
    masks[0, 0, 0, 0] = 1
    masks[1, 0, :2] = 1
    predicted[0, :, 0, 0] = 2
    predicted[1, :, :2] = 4
    assert float(masked_loss(predicted, noise, masks)) == pytest.approx((4 + 16) / 2)
    with pytest.raises(ValueError, match="mask of item 1 is empty"):
        masked_loss(predicted, noise, torch.stack([masks[0], torch.zeros_like(masks[1])]))


def test_timesteps_are_even_and_noise_is_offset():
    generator = torch.Generator().manual_seed(0)
    _, _, steps = UniformDiffusion(("linear",)).noised(torch.zeros(4000, 1), generator)
    counts = torch.histc(steps.float(), 10, 0, 1000)
    assert float(counts.min()) > 330 and float(counts.max()) < 470
    noise = offset_noise((500, 4, 16, 16), generator)
    assert float(noise.var()) == pytest.approx(1.01, abs=0.01)
    assert float(noise.mean((2, 3)).var()) == pytest.approx(0.01 + 1 / 256, abs=0.002)


def test_training_moves_the_tokens_alone_shows_all_pictures_and_repeats(tmp_path):
    found = []
    for name in ("a", "b"):
        tokens = TokenRows(torch.zeros(2, 3))
        family = Painter(tokens)
        found.append(train_tokens(family, tokens, pictures(), plan(tmp_path / name), batch=2))
        seen = [text for texts in family.texts for text in texts]
        assert seen == [f"text {i % 5}" for i in range(12)]
    assert torch.equal(*found) and bool((found[0] != 0).all()) and found[0].shape == (2, 3)


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    whole = TokenRows(torch.zeros(2, 3))
    wanted = train_tokens(Painter(whole), whole, pictures(), plan(tmp_path / "whole"))
    tokens, done = TokenRows(torch.zeros(2, 3)), []
    stopped = plan(tmp_path / "cut")
    train_tokens(
        Painter(tokens),
        tokens,
        pictures(),
        stopped,
        progress=lambda *a: done.append(a),
        stop=lambda: len(done) == 3,
    )
    assert len(done) == 3
    again = TokenRows(torch.zeros(2, 3))
    assert torch.equal(train_tokens(Painter(again), again, pictures(), stopped), wanted)


def test_what_is_outside_the_mask_is_not_learnt(tmp_path):
    """The noise is what it is: only the error's weights differ, so masked and unmasked runs part ways."""
    results = {}
    for unmasked in (0.0, 1.0):
        tokens = TokenRows(torch.zeros(1, 2))

        class Half(Painter):
            def predict(self, noisy, steps, texts):
                value = torch.zeros_like(noisy)
                value[..., noisy.shape[-1] // 2 :] = self.tokens.vectors.mean()
                return value

        results[unmasked] = train_tokens(
            Half(tokens),
            tokens,
            pictures(),
            plan(tmp_path / str(unmasked), weight_decay=0.0),
            unmasked=unmasked,
        )
    assert not results[0.0].any(), "a change outside the mask has no gradient"
    assert bool(results[1.0].all())
