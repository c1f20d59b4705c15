"""Clips with tracks: exact, drawn as flow maps for training, kept in a folder that other recipes read too."""

import numpy as np
import pytest
import torch
from choreographer.core.data.free_motion import KINDS, free_scene
from choreographer.core.data.grid_tracks import draw_tracked
from choreographer.core.data.render import render
from choreographer.core.data.scene import CAMERAS, reversed_caption, sample_scene
from choreographer.core.training import flow_clips, flow_source
from choreographer.core.training.autoencoder import encoder
from choreographer.core.training.diffusion import Batch
from choreographer.core.training.latents import Latents
from choreographer.core.trajectory.flow_map import flow_map
from choreographer.core.trajectory.sample import Sampled

FRAMES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    found = tmp_path_factory.mktemp("flow")
    clips = flow_clips.sprite_clips(6, FRAMES, seed=4)
    flow_clips.build_flow_clips(encoder().eval(), found, clips, progress=print)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_tracks_agree_with_the_exact_flow(seed):
    scene = sample_scene(np.random.default_rng(seed), FRAMES, camera=CAMERAS[1 + 2 * seed])
    clip, truth = draw_tracked(scene), render(scene)
    assert np.array_equal(clip.images, truth.images) and clip.caption == truth.caption
    owners = np.stack([truth.masks.argmax(0), truth.masks.any(0)])
    for t in range(FRAMES - 1):
        seen = clip.visible[:, t] & clip.visible[:, t + 1]
        at = clip.paths[seen, t] - 0.5
        x, y = at.round().astype(int).T
        ahead = clip.paths[seen, t + 1] - clip.paths[seen, t]
        # flow is told at a pixel's middle; a point up to half a pixel beside it differs in a zoom
        assert np.abs(ahead - truth.flow[t][:, y, x].T).max() < 0.05
    assert owners.any() and 0 < clip.visible[:, -1].mean() <= 1


def test_a_point_that_is_covered_or_leaves_is_not_visible():
    scene = free_scene(np.random.default_rng(0), 16, "object")
    clip = draw_tracked(scene)
    inside = ((clip.paths >= 0) & (clip.paths < 128)).all(-1)
    assert not (clip.visible & ~inside).any()
    assert (inside & ~clip.visible).any(), "the sprite covers some ground on its way"


def test_kinds_move_what_they_say():
    rng, captions = np.random.default_rng(5), set()
    for kind in KINDS:
        for _ in range(8):
            scene = free_scene(rng, 16, kind)
            camera = np.ptp(scene.centre, 0).any() or np.ptp(scene.zoom) > 0
            sprites = any(np.ptp(sprite.path, 0).any() for sprite in scene.sprites)
            assert camera == (kind != "object") and sprites == (kind != "camera")
            captions.add(scene.caption)
    assert any(" moving on " in text for text in captions) and any("camera" in text for text in captions)
    with pytest.raises(ValueError, match="'all', expected one of camera"):
        free_scene(rng, 4, "all")


def test_a_folder_reads_back_and_serves_other_recipes(folder):
    data = flow_clips.read_flow_clips(folder, folder)
    assert data.clips.shape == (12, FRAMES, 4, 16, 16) and data.tracks.shape == (12, 256, FRAMES, 2)
    assert data.visible.dtype == torch.bool and data.size == (128, 128) and data.kinds[:3] == KINDS
    camera = data.of_kinds("camera")
    assert set(camera.kinds) == {"camera"} and len(camera.clips) == len(camera.captions) == 4
    assert torch.equal(camera.tracks[1], data.tracks[3])
    assert len(Latents(folder).clips) == 6 and Latents(folder).clip_captions == list(data.captions[:6])
    with pytest.raises(ValueError, match="No clip is of kind object"):
        camera.of_kinds("object")
    with pytest.raises(ValueError, match="No clips with tracks in"):
        flow_clips.read_flow_clips(folder / "none")


def test_sparse_maps_are_of_few_tracks_that_move(folder):
    data = flow_clips.read_flow_clips(folder).of_kinds("object")
    generator, numbers = torch.Generator().manual_seed(1), set()
    moves = data.tracks.diff(dim=2).norm(dim=-1).sum(-1)
    for _ in range(60):
        rows = flow_source.draw_tracks(data.tracks[0], data.visible[0], generator)
        numbers.add(len(rows))
        assert (moves[0, rows] > 0).all() and len(set(rows.tolist())) == len(rows)
    assert numbers == set(range(1, 9))
    still = torch.zeros(5, 4, 2)
    assert len(flow_source.draw_tracks(still, torch.ones(5, 4, dtype=torch.bool), generator)) >= 1


def test_the_dense_map_is_that_of_all_tracks(folder):
    data = flow_clips.read_flow_clips(folder).of_kinds("mixed")
    drawn = flow_source.FlowSource(data, dense=True).draw(
        Batch(clips=3, frames=FRAMES), torch.Generator().manual_seed(2)
    )
    assert drawn.condition.shape == (3, FRAMES, 2, 128, 128) and drawn.places is None and drawn.image is None
    for latents, text, flow in zip(drawn.latents, drawn.texts, drawn.condition, strict=True):
        (row,) = [i for i, clip in enumerate(data.clips) if same(clip, latents)]
        tracks, visible, caption = data.tracks[row].double(), data.visible[row], data.captions[row]
        if not torch.equal(data.clips[row].float(), latents):
            tracks, visible, caption = tracks.flip(1), visible.flip(1), reversed_caption(caption)
        wanted = flow_map(Sampled(tracks, visible, (flow_source.ANY_TRACK,) * 256, (128, 128))).flow
        assert torch.equal(flow, wanted) and not flow[0].any() and text == caption


def same(clip, latents):
    """Whether they are the clip, forwards or backwards."""
    return torch.equal(clip.float(), latents) or torch.equal(clip.float().flip(0), latents)


def test_thinned_clips_have_the_maps_of_their_places_and_begin_with_the_image(folder):
    data = flow_clips.read_flow_clips(folder)
    source, batch = flow_source.FlowSource(data, image=True), Batch(clips=2, frames=3, span=FRAMES)
    shown = set()
    for seed in range(20):
        drawn = source.draw(batch, torch.Generator().manual_seed(seed))
        assert drawn.places[0] == 0 and drawn.places.diff().min() > 0 and drawn.condition.shape[:2] == (2, 3)
        assert not drawn.condition[:, 0].any() and not drawn.image[:, 1:].any()
        for latents, image in zip(drawn.latents, drawn.image, strict=True):
            shown.add(bool(image[0, 4].all()))
            assert not image.any() or torch.equal(image[0, :4], latents[0]) and image[0, 4].eq(1).all()
    assert shown == {True, False}
    with pytest.raises(ValueError, match="have 6 frames, the recipe asks for 9"):
        source.draw(Batch(clips=1, frames=9), torch.Generator())


def test_real_clips_are_not_played_backwards(tmp_path):
    torch.manual_seed(0)
    clips = list(flow_clips.sprite_clips(2, 3, seed=9))
    flow_clips.build_flow_clips(encoder().eval(), tmp_path, clips, reversible=False)
    data = flow_clips.read_flow_clips(tmp_path)
    assert data.reversible == (False, False)
    source = flow_source.FlowSource(data)
    for seed in range(10):
        drawn = source.draw(Batch(clips=1, frames=3), torch.Generator().manual_seed(seed))
        assert any(torch.equal(clip.float(), drawn.latents[0]) for clip in data.clips)
        assert drawn.texts[0] in data.captions
