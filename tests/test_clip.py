"""Folding frames: split and join are inverse views, and a batch that does not fit is refused."""

import pytest
import torch
from choreographer.core.clip import VideoShape


def test_split_and_join_are_inverse_and_keep_frames_of_a_clip_together():
    x = torch.arange(2 * 3 * 4 * 5 * 6.0).view(6, 4, 5, 6)
    shape = VideoShape.of(x, frames=3)
    assert shape == VideoShape(2, 3, 5, 6)
    split = shape.split(x)
    assert split.shape == (2, 3, 4, 5, 6) and torch.equal(split[1, 0], x[3])
    assert torch.equal(shape.join(split), x) and split.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("frames", [0, 4, 7])
def test_a_batch_that_is_no_multiple_is_refused(frames):
    with pytest.raises(ValueError, match="6 frames"):
        VideoShape.of(torch.zeros(6, 4, 5, 6), frames)


def test_wrong_axes_are_refused():
    shape = VideoShape(2, 3, 5, 6)
    with pytest.raises(ValueError, match="batch of 5"):
        shape.split(torch.zeros(5, 4, 5, 6))
    with pytest.raises(ValueError, match=r"\(2, 3"):
        shape.join(torch.zeros(3, 2, 4))
