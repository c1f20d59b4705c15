"""Variations of training pictures: sizes, words, masks that stay with their subject."""

import pytest
import torch
from choreographer.core.identity.augment import FAR, NEAR, Change, apply_change, draw_change, vary


def scene(height=64, width=64):
    """A white disc on black, its mask, left of the middle."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    disc = ((x - width * 0.35) ** 2 + (y - height * 0.5) ** 2 < (height * 0.2) ** 2).float()
    return disc[..., None].repeat(1, 1, 3), disc


def centre(mask):
    ys, xs = mask.nonzero().T.float()
    return float(xs.mean()), float(ys.mean())


def test_unchanged_is_the_picture():
    image, mask = scene()
    picture, subject, there = apply_change(image, mask, Change(), 64)
    assert torch.allclose(picture, image, atol=1e-5) and torch.equal(subject, mask) and bool(there.all())


def test_a_wide_picture_fits_whole_and_the_rest_is_empty():
    image, mask = scene(32, 64)
    picture, subject, there = apply_change(image, mask, Change(), 64)
    assert there[16:48].all() and not there[:15].any() and torch.equal(subject[16:48], mask)
    assert torch.allclose(picture[:15], torch.full((15, 64, 3), 0.5))


@pytest.mark.parametrize(
    "change", [Change(0.4, (1.0, -1.0)), Change(1.3, (1.0, 0.5)), Change(1, (0, 0), 25.0)]
)
def test_masks_stay_with_their_subject(change):
    image, mask = scene()
    picture, subject, there = apply_change(image, mask, change, 64)
    assert float((picture[..., 0] - subject).abs()[there > 0].mean()) < 0.03
    assert subject.sum() == pytest.approx(float(mask.sum()) * change.scale**2, rel=0.1)
    assert not bool((subject * (1 - there)).any()), "no subject on the empty canvas"


def test_mirrored_and_turned_about_the_middle():
    image, mask = scene()
    x, y = centre(apply_change(image, mask, Change(flipped=True), 64)[1])
    assert x == pytest.approx(63 - centre(mask)[0], abs=0.3) and y == pytest.approx(31.5, abs=0.3)
    x, y = centre(apply_change(image, mask, Change(degrees=90.0), 64)[1])
    assert x == pytest.approx(31.5, abs=0.5) and abs(y - 31.5) == pytest.approx(
        31.5 - centre(mask)[0], abs=0.5
    )


def test_draws_have_the_published_shares_and_say_what_they_do():
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_change(generator) for _ in range(3000)]
    small = [c for c in drawn if c.scale < 1]
    near = [c for c in drawn if c.scale > 1]
    assert len(small) / 3000 == pytest.approx(2 / 3 * 0.4, abs=0.03), "a third to 0.6 of a third to 1"
    assert len(near) / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert all(1 / 3 <= c.scale < 0.6 and c.prefix in FAR for c in small)
    assert all(1.2 <= c.scale <= 1.4 and c.prefix in NEAR for c in near)
    assert all(not c.prefix and c.place == (0, 0) for c in drawn if c.scale == 1)
    assert sum(c.flipped for c in drawn) / 3000 == pytest.approx(0.5, abs=0.03)
    turned = torch.tensor([c.degrees for c in drawn if c.degrees])
    assert len(turned) / 3000 == pytest.approx(0.7, abs=0.03) and float(turned.std()) == pytest.approx(
        10, rel=0.06
    )
    assert not any(draw_change(generator, flip=False).flipped for _ in range(50))


def test_a_pool_shows_every_picture_repeats_by_seed_and_keeps_its_subjects():
    image, mask = scene()
    images = torch.stack([image * level for level in (0.2, 0.6, 1.0)])
    masks = mask.expand(3, -1, -1)
    pool = vary(images, masks, 64, 12, torch.Generator().manual_seed(1))
    assert pool.images.shape == (12, 64, 64, 3) and pool.masks.shape == (12, 1, 8, 8)
    levels = [round(float(picture.amax()), 1) for picture in pool.images]
    assert all(set(levels[i : i + 3]) & {0.2, 0.5} for i in (0, 3, 6, 9)) and 1.0 in levels
    assert bool((pool.masks.sum((1, 2, 3)) > 0).all()) and bool((pool.pictures >= pool.masks).all())
    again = vary(images, masks, 64, 12, torch.Generator().manual_seed(1))
    assert torch.equal(pool.images, again.images) and pool.prefixes == again.prefixes


def test_a_subject_at_the_edge_is_never_lost():
    image, mask = torch.zeros(64, 64, 3), torch.zeros(64, 64)
    mask[:3, :3] = 1
    pool = vary(image[None], mask[None], 64, 40, torch.Generator().manual_seed(0))
    assert bool((pool.masks.sum((1, 2, 3)) > 0).all())


def test_empty_masks_and_wrong_sizes_are_named():
    image, mask = scene()
    two = torch.stack([mask, torch.zeros_like(mask)])
    for images, masks, size, message in (
        (image[None].repeat(2, 1, 1, 1), two, 64, "mask of picture 1 is empty"),
        (image[None], two, 64, "one mask of the same size"),
        (image[None], mask[None], 60, "size is 60, expected a multiple of 8"),
    ):
        with pytest.raises(ValueError, match=message):
            vary(images, masks, size, 2, torch.Generator())
