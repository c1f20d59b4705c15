"""Tiles: the published geometry, covers without strips, and merges that keep what tiles agree on."""

import pytest
import torch
from choreographer.core.refine.tiles import WEIGHTS, Tiling, padded_tiles, spread, weights


@pytest.mark.parametrize(
    ("length", "tile", "overlap"), [(128, 64, 8), (65, 64, 8), (64, 64, 0), (9, 64, 8), (200, 33, 32)]
)
def test_origins_cover_the_frame_with_the_overlap_asked_for(length, tile, overlap):
    origins = spread(length, tile, overlap)
    assert origins[0] == 0 and origins[-1] + min(tile, length) == length
    assert all(b - a <= tile - overlap for a, b in zip(origins, origins[1:], strict=False))
    with pytest.raises(ValueError, match="overlap is"):
        spread(length, tile, tile)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_are_positive_symmetric_and_largest_in_the_middle(kind):
    found = weights(7, 10, kind)
    assert found.shape == (7, 10) and float(found.min()) > 0 and float(found.max()) <= 1
    assert torch.allclose(found, found.flip(0)) and torch.allclose(found, found.flip(1))
    assert float(found[3, 4]) == float(found.max())
    with pytest.raises(ValueError, match="'round', expected one of gaussian, linear"):
        weights(4, 4, "round")


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("shape", [(20, 33), (16, 16), (5, 40)])
def test_tiles_of_one_picture_merge_to_it(kind, shape):
    whole = torch.randn(2, 4, *shape, generator=torch.Generator().manual_seed(0))
    tiling = Tiling(*shape, 16, 4, kind)
    merged = tiling.merge(tile.of(whole) for tile in tiling.tiles)
    assert torch.allclose(merged, whole, atol=1e-6)


def test_one_tile_is_given_back_untouched():
    part = torch.randn(1, 4, 12, 10)
    assert Tiling(12, 10, 16, 4).merge([part]) is part


@pytest.mark.parametrize("kind", WEIGHTS)
def test_tiles_that_disagree_blend_without_a_step(kind):
    """Each tile adds a constant of its own: the merge goes from one to the other over the overlap."""
    tiling = Tiling(16, 40, 16, 8, kind)
    parts = [torch.full((1, 1, 16, 16), float(i)) for i in range(len(tiling.tiles))]
    row = tiling.merge(parts)[0, 0, 8]
    assert float(row.diff().abs().max()) < 0.35 and float(row[0]) == 0 and float(row[-1]) == len(parts) - 1


def test_padded_tiles_keep_every_cell_once_and_sample_around_it():
    kept = torch.zeros(70, 100, dtype=torch.int)
    for own, sampled in padded_tiles((70, 100), 32, 8):
        own.of(kept).add_(1)
        assert sampled.top <= own.top and sampled.left <= own.left
        assert sampled.bottom >= own.bottom and sampled.right >= own.right
    assert bool((kept == 1).all())
