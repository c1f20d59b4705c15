"""Guidance: the golden combinations, what both forms must be at 0 and 1, and one call or several."""

from pathlib import Path

import pytest
import torch
from choreographer.core.guidance import (
    EQ5,
    EXTRAPOLATE,
    FORMS,
    Pair,
    camera_free,
    classifier_free,
    evaluate,
    one_by_one,
    trajectory_change,
)
from safetensors.torch import load_file

GOLDEN = Path(__file__).parent / "data" / "golden" / "image_conductor" / "e_camera_free_guidance.safetensors"


@pytest.fixture(scope="module")
def data():
    return load_file(GOLDEN)


@pytest.fixture(scope="module")
def pairs(data):
    return [Pair(data[f"eps_{net}_cond"], data[f"eps_{net}_uncond"]) for net in ("base", "obj")]


@pytest.mark.parametrize("form", FORMS)
def test_combinations_equal_the_golden_ones(data, pairs, form):
    names = [name for name in data if name.startswith(form)]
    assert len(names) >= 8
    for name in names:
        cfg, scale = (float(part) for part in name.removeprefix(f"{form}_cfg").split("_trajs"))
        torch.testing.assert_close(camera_free(form, *pairs, cfg, scale), data[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_scale_zero_is_classifier_free_guidance_of_the_base(pairs, form):
    assert torch.equal(camera_free(form, *pairs, 7.5, 0.0), classifier_free(pairs[0], 7.5))


def test_scale_one_extrapolated_is_the_driven_net(pairs):
    ours = camera_free(EXTRAPOLATE, *pairs, 7.5, 1.0)
    torch.testing.assert_close(ours, classifier_free(pairs[1], 7.5), rtol=0, atol=1e-5)


def test_equation_five_needs_no_negative_of_the_driven_net(pairs):
    base, driven = pairs
    without = camera_free(EQ5, base, Pair(driven.cond), 7.5, 1.5)
    assert torch.equal(without, camera_free(EQ5, base, driven, 7.5, 1.5))


@pytest.mark.parametrize("form", FORMS)
def test_predicted_noise_and_clean_latents_agree(pairs, form):
    """With x = clean + sigma * noise the combination of clean latents is that of the noises."""
    noisy, sigma = torch.randn(pairs[0].cond.shape, generator=torch.Generator().manual_seed(1)), 3.0
    clean = [Pair(*(noisy - sigma * noise for noise in pair)) for pair in pairs]
    expected = noisy - sigma * camera_free(form, *pairs, 8.5, 1.5)
    torch.testing.assert_close(camera_free(form, *clean, 8.5, 1.5), expected, rtol=1e-4, atol=1e-4)


def test_no_negative_is_a_scale_of_one(pairs):
    assert torch.equal(classifier_free(Pair(pairs[0].cond), 7.5), pairs[0].cond)


def test_an_unknown_form(pairs):
    with pytest.raises(ValueError, match="forms eq5, extrapolate, not 'eq6'"):
        trajectory_change("eq6", *pairs, 7.5)


def recorder(limit):
    """A model that can take `limit` conditions at once; and what it was called with."""
    calls = []

    def run(conditions):
        calls.append(list(conditions))
        if sum(entry is not None for entry in conditions) > limit:
            raise torch.cuda.OutOfMemoryError
        return [torch.zeros(1) if entry is None else torch.full((1,), float(entry)) for entry in conditions]

    return run, calls


def test_one_call_where_memory_allows():
    run, calls = recorder(3)
    found, together = evaluate(run, [1, 2, 3])
    assert together and calls == [[1, 2, 3]] and torch.cat(found).tolist() == [1, 2, 3]


def test_one_by_one_where_it_does_not():
    run, calls = recorder(1)
    found, together = evaluate(run, [1, 2, 3])
    assert not together and torch.cat(found).tolist() == [1, 2, 3]
    assert calls[1:] == [[1, None, None], [None, 2, None], [None, None, 3]]
    assert torch.cat(one_by_one(run, [4, 5])).tolist() == [4, 5]


def test_other_errors_are_not_swallowed():
    def interrupted(conditions):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        evaluate(interrupted, [1, 2])
