"""Pictures of a subject: what becomes white, which part is taken, what is refused."""

import pytest
import torch
from choreographer.core.image_prompt.picture import prepare, resized, stacked, written_boxes
from choreographer.core.refine.boxes import Box


@pytest.fixture
def image():
    return torch.rand(20, 30, 3, generator=torch.Generator().manual_seed(0)) * 0.5


@pytest.fixture
def mask():
    mask = torch.zeros(20, 30)
    mask[5:10, 8:20] = 1
    return mask


def test_the_mask_gives_background_and_box(image, mask):
    found = prepare(image, mask)
    assert found.box == Box(8, 5, 20, 10) and found.image.shape == (3, 12, 12)
    assert torch.equal(found.image[:, 3:8], image[5:10, 8:20].permute(2, 0, 1))  # in the middle
    assert (found.image[:, :3] == 1).all() and (found.image[:, 8:] == 1).all()
    assert "white outside the mask" in found.report and "box of the mask" in found.report


def test_alpha_is_a_mask_of_its_own(image, mask):
    clear = torch.cat((image, mask[..., None]), 2)
    assert torch.equal(prepare(clear).image, prepare(image, mask).image)
    assert "transparency white" in prepare(clear).report
    half = torch.cat((image, torch.full((20, 30, 1), 0.5)), 2)
    assert torch.allclose(
        prepare(half, box=Box(0, 0, 20, 20)).image, 0.5 * image[:, :20].permute(2, 0, 1) + 0.5
    )


def test_without_mask_the_background_stays(image):
    whole = prepare(image)
    assert whole.image.shape == (3, 30, 30) and whole.box == Box(0, 0, 30, 20)
    assert torch.equal(whole.image[:, 5:25], image.permute(2, 0, 1))
    part = prepare(image, box=Box(10.4, 2, 15, 7.5))
    assert part.box == Box(10, 2, 15, 8) and "given box" in part.report
    assert prepare(image, box=Box(10, 2, 20, 12), margin=0.2).box == Box(9, 1, 21, 13)


def test_mistakes_are_one_sentence(image, mask):
    with pytest.raises(ValueError, match="box has no pixels: 5, 5, 5, 9 .* picture of 30x20"):
        prepare(image, box=Box(5, 5, 5, 9))
    with pytest.raises(ValueError, match="box has no pixels: 40, 5, 50, 9"):
        prepare(image, box=Box(40, 5, 50, 9))
    with pytest.raises(ValueError, match="The mask is empty: .*invert the mask"):
        prepare(image, torch.zeros(20, 30))
    with pytest.raises(ValueError, match="The mask is 20x20, its picture is 30x20"):
        prepare(image, mask[:, :20])
    with pytest.raises(ValueError, match=r"\(20, 30, 2\), expected height x width x 3 or 4"):
        prepare(image[..., :2])


def test_the_mask_of_an_opaque_picture_is_named():
    """ComfyUI gives 64x64 of one value, whatever the picture's size."""
    for value in (0.0, 1.0):
        with pytest.raises(ValueError, match="The mask says nothing: .* gives one of 64x64 where"):
            prepare(torch.rand(768, 768, 3), torch.full((64, 64), value))
    half = torch.ones(64, 64)
    half[:32] = 0
    with pytest.raises(ValueError, match="The mask is 64x64, its picture is 768x768"):
        prepare(torch.rand(768, 768, 3), half)
    assert prepare(torch.rand(64, 64, 3), torch.ones(64, 64)).box == Box(0, 0, 64, 64)


def test_a_subject_that_mask_and_alpha_leave_nothing_of_is_refused(image, mask):
    clear = torch.cat((image, 1 - mask[..., None]), 2)
    with pytest.raises(ValueError, match="No subject is left: .* transparent where the mask is white"):
        prepare(clear, mask)
    with pytest.raises(ValueError, match="No subject is left: .* transparent everywhere"):
        prepare(torch.cat((image, torch.zeros(20, 30, 1)), 2), box=Box(0, 0, 20, 20))


def test_a_picture_has_one_written_box():
    assert written_boxes("1: 2, 2, 8, 9", 2, (30, 20)) == [None, Box(2, 2, 8, 9)]
    assert written_boxes("1, 1, 9, 9", 2, (30, 20)) == [Box(1, 1, 9, 9)] * 2
    for several in ("1, 1, 9, 9\n1: 2, 2, 8, 9", "1: 1, 1, 9, 9\n1: 2, 2, 8, 9"):
        with pytest.raises(ValueError, match="boxes: picture 1 has 2 boxes, expected at most one"):
            written_boxes(several, 2, (30, 20))


def test_scaling_averages_and_keeps_the_range():
    checks = (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).float().expand(3, 64, 64)
    small = resized(checks, 16)
    assert (small[:, 2:-2, 2:-2] - 0.5).abs().max() < 1e-5
    assert resized(checks, 64) is checks
    assert stacked([checks, checks[:, :32, :32]], 8).shape == (2, 3, 8, 8)
