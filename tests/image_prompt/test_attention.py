"""What injected attention must be: nothing at weight 0, the definition at 1, in between a mixture."""

import pytest
import torch
from choreographer.core.image_prompt.attention import Picture, attend, chained, mixed
from choreographer.core.image_prompt.positions import picture_positions, token_grid, video_positions
from torch.overrides import TorchFunctionMode

HEADS, FRAMES, TOKENS, WIDTH = 4, 5, 6, 16


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def clip():
    return tuple(drawn(FRAMES, TOKENS, WIDTH, seed=seed) for seed in range(3))


@pytest.fixture
def pictures():
    return [Picture(drawn(n, WIDTH, seed=10 + n), drawn(n, WIDTH, seed=20 + n)) for n in (4, 7)]


def weights(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def seen(clip, pictures, rows, plain=True, sees=True):
    return mixed(clip, pictures, rows, HEADS, clip if plain else None, sees)


def test_weight_nought_is_the_layer_of_its_own(clip, pictures):
    none = torch.zeros(FRAMES, 2)
    assert torch.equal(seen(clip, pictures, none), attend(*clip, HEADS))
    assert torch.equal(seen(clip, pictures, none, plain=False), chained(*clip, clip[2][0], HEADS))
    assert torch.equal(seen(clip, [], torch.zeros(FRAMES, 0)), attend(*clip, HEADS))


def test_who_does_not_see_attends_alike_without_the_picture(clip, pictures):
    one = weights(*[[1.0, 0.0]] * FRAMES)
    blind = seen(clip, pictures, one, sees=False)
    assert torch.equal(blind, chained(*clip, clip[2][0], HEADS))
    assert torch.equal(seen(clip, pictures, one, plain=False, sees=False), blind)
    half = seen(clip, pictures, 0.5 * one, sees=False)
    assert torch.allclose(half, (blind + attend(*clip, HEADS)) / 2, atol=1e-6)
    assert torch.equal(seen(clip, pictures, 0 * one, sees=False), attend(*clip, HEADS))


def test_between_nought_and_one_it_mixes(clip, pictures):
    one = weights(*[[1.0, 0.0]] * FRAMES)
    full, none = seen(clip, pictures, one), seen(clip, pictures, 0 * one)
    assert torch.allclose(seen(clip, pictures, 0.3 * one), none + 0.3 * (full - none), atol=1e-6)


def test_frames_with_weights_of_their_own(clip, pictures):
    """Each frame gets what it would get if its weights were those of the whole clip."""
    rows = weights([1, 0], [0, 0], [0, 1], [1, 1], [0.5, 2])
    found = seen(clip, pictures, rows)
    for frame in range(FRAMES):
        alone = seen(clip, pictures, rows[frame].expand(FRAMES, 2).contiguous())
        assert torch.allclose(found[frame], alone[frame], atol=1e-6)


def test_several_pictures_are_one_with_all_tokens(clip, pictures):
    both = Picture(*(torch.cat(parts) for parts in zip(*pictures, strict=True)))
    assert torch.allclose(
        seen(clip, pictures, torch.ones(FRAMES, 2)), seen(clip, [both], torch.ones(FRAMES, 1)), atol=1e-6
    )


def test_weight_two_is_the_picture_twice(clip, pictures):
    twice = seen(clip, [pictures[0]] * 2, torch.ones(FRAMES, 2))
    assert torch.allclose(seen(clip, pictures[:1], 2 * torch.ones(FRAMES, 1)), twice, atol=1e-6)


def test_frames_are_chained_without_an_index_for_the_device(clip):
    class NoLists(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.Tensor.__getitem__:
                assert not isinstance(args[1], list), "a list is sent to the device in every layer"
            return function(*args, **(kwargs or {}))

    wanted = attend(
        clip[0],
        torch.stack([torch.cat((clip[1][0], clip[1][max(f - 1, 0)])) for f in range(FRAMES)]),
        torch.stack([torch.cat((clip[2][0], clip[2][max(f - 1, 0)])) for f in range(FRAMES)]),
        HEADS,
    )
    with NoLists():
        found = chained(*clip, clip[2][0], HEADS)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_one_frame_without_picture_attends_to_itself(clip):
    one = tuple(part[:1] for part in clip)
    assert torch.allclose(chained(*one, one[2][0], HEADS), attend(*one, HEADS), atol=1e-6)


def test_positions_of_half_a_grid_lie_between_those_of_the_whole():
    whole = picture_positions((8, 6), (8, 6), 16).view(8, 6, 16)
    half = picture_positions((4, 3), (8, 6), 16).view(4, 3, 16)
    assert torch.equal(whole[0, 0], torch.tensor([0.0, 1.0] * 8))
    assert half[0, 0, 0] == pytest.approx(torch.sin(torch.tensor(0.5)).item())
    window = video_positions((4, 3), (8, 6), torch.tensor([9, 10]), 16)
    assert torch.equal(window[1], video_positions((4, 3), (8, 6), torch.arange(11), 16)[10])
    with pytest.raises(ValueError, match="a multiple of 4 channels, got 18"):
        picture_positions((2, 2), (2, 2), 18)


def test_levels_halve_rounding_up():
    assert token_grid(63, (7, 9)) == (7, 9) and token_grid(20, (7, 9)) == (4, 5)
    with pytest.raises(ValueError, match="latents of 9x7 has 21 tokens"):
        token_grid(21, (7, 9))
