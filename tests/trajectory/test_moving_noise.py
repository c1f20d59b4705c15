"""Noise along tracks: white in every frame, at rest on the ground, and moved with each object."""

import pytest
import torch
from choreographer.core.noise import gaussian_prior, seeded
from choreographer.core.trajectory.moving_noise import Layers, moving_noise
from choreographer.core.trajectory.sample import sample
from choreographer.core.trajectory.track import CameraMove, Point, Track, Trajectories

SHAPE, SIDE, FRAMES = (4, 12, 16), 8, 9
SIZE = (SHAPE[2] * SIDE, SHAPE[1] * SIDE)
ACROSS = Track((Point(0.25, 0.5), Point(0.75, 0.5)), "across")  # 4 cells from the left to 12, one a frame
BACK = Track((Point(0.75, 0.25), Point(0.25, 0.25)), "back")


def drawn(*tracks, camera=(), layers=None, seed=3, shape=SHAPE, frames=FRAMES):
    """Noise along tracks in a clip of SHAPE."""
    size = (shape[2] * SIDE, shape[1] * SIDE)
    layers = layers or Layers(radius=20.0)
    return moving_noise(sample(Trajectories(tracks, camera), frames, size), shape, seed, layers)


def test_an_objects_noise_moves_along_its_track():
    """A cell a frame to the right, as the track does; at gamma 1 the very same values."""
    noise = drawn(ACROSS, layers=Layers(objects=1.0, radius=20.0))
    patches = torch.stack([noise[frame, :, 5:7, 3 + frame : 5 + frame] for frame in range(FRAMES)])
    assert torch.equal(patches, patches[:1].expand_as(patches))


def test_the_ground_is_the_prior_of_the_seed():
    """Far from every track; and everywhere without tracks, with the camera's, and with those at rest."""
    ground = gaussian_prior(FRAMES, SHAPE, 0.6, seeded(3))
    layers = Layers(ground=0.6, radius=20.0)
    assert torch.equal(drawn(ACROSS, layers=layers)[:, :, [0, 1, 10, 11]], ground[:, :, [0, 1, 10, 11]])
    anchor = Track((Point(0.5, 0.5),), "anchor")
    camera = Track(ACROSS.points, "view", role="camera")
    assert torch.equal(drawn(layers=layers), ground)
    assert torch.equal(drawn(anchor, camera, camera=(CameraMove(pan=0.2),), layers=layers), ground)


def test_where_a_track_is_not_seen_the_ground_is():
    """From its second key to its third this one is hidden."""
    hidden = Track((Point(0.25, 0.5), Point(0.5, 0.5, frame=4, visible=False), Point(0.75, 0.5)), "hides")
    noise, ground = drawn(hidden), drawn()
    assert torch.equal(noise[4:8], ground[4:8])
    assert not any(torch.equal(noise[frame], ground[frame]) for frame in (3, 8))


def test_every_frame_is_white():
    """With gamma 1 a value can only be one of the draws: none is twice in a frame, objects crossing or not.

    Channels are drawn alike: over 2048 of them each cell has mean 0 and variance 1.
    """
    for frame in drawn(ACROSS, BACK, layers=Layers(1.0, 1.0, 30.0)):
        assert len(frame.unique()) == frame.numel()
    frame = drawn(ACROSS, BACK, layers=Layers(0.7, 0.9, 30.0), shape=(2048, 12, 16))[5]
    assert float(frame.mean(0).abs().max()) < 5 / 2048**0.5
    assert float((frame.square().mean(0) - 1).abs().max()) < 5 * (2 / 2048) ** 0.5


def test_frames_are_as_alike_as_the_layers_say():
    """gamma^|m-n| along the track, with the object's gamma; on the ground with the ground's."""
    noise = drawn(ACROSS, layers=Layers(0.5, 0.9, 40.0), shape=(4096, 12, 16))
    for cells, gamma in (
        ([noise[frame, :, 6, 4 + frame] for frame in range(FRAMES)], 0.9),
        ([noise[frame, :, 0, 0] for frame in range(FRAMES)], 0.5),
    ):
        flat = torch.stack(cells).double()
        places = torch.arange(FRAMES)
        wanted = torch.tensor(gamma, dtype=torch.float64) ** (places[:, None] - places).abs()
        assert float((flat @ flat.T / 4096 - wanted).abs().max()) < 5 * (2 / 4096) ** 0.5


def test_the_nearer_of_two_objects_counts():
    """Side by side, with a radius that reaches over both."""
    left = Track((Point(0.25, 0.2), Point(0.25, 0.8)), "left")
    right = Track((Point(0.75, 0.2), Point(0.75, 0.8)), "right")
    both, alone = (drawn(*tracks, layers=Layers(radius=200.0)) for tracks in ((left, right), (left,)))
    assert torch.equal(both[..., :8], alone[..., :8])
    assert not torch.equal(both[..., 8:], alone[..., 8:])


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ({"ground": 1.5}, "gamma is 1.5, expected"),
        ({"objects": -2.0}, "gamma is -2.0, expected"),
        ({"radius": 0.0}, "Radius around the tracks is 0 pixels, expected above 0"),
    ],
)
def test_wrong_numbers_are_told(layers, told):
    """In a sentence each."""
    with pytest.raises(ValueError, match=told):
        Layers(**layers)
