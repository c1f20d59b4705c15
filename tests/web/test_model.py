"""The page's arithmetic is that of `core`: the same curves, times and camera moves, the same text."""

import json
import random
import re
from pathlib import Path

import pytest
from choreographer.core.trajectory.camera import PRESETS
from choreographer.core.trajectory.document import read_document
from choreographer.core.trajectory.formats import Reading, parse, write_ati
from choreographer.core.trajectory.sample import sample
from choreographer.core.trajectory.track import (
    CAMERA_EASINGS,
    CURVES,
    EASINGS,
    ROLES,
    TIMINGS,
    ZOOM_CURVES,
)

WEB = Path(__file__).resolve().parents[2] / "web"
SIZE, FRAMES = (384, 256), 21


def track(random_, number):
    """A track with something of everything."""
    count = random_.randint(1, 6)
    timing = random_.choice(TIMINGS)
    frames = sorted(random_.sample(range(FRAMES), count))
    points = []
    for i in range(count):
        point = {
            "x": round(random_.uniform(-0.2, 1.2), 3),
            "y": random_.choice([0.5, round(random_.random(), 6)]),
        }
        if timing == "keys" or random_.random() < 0.3:
            point["frame"] = frames[i] if random_.random() < 0.7 else frames[i] - FRAMES
        if timing != "keys" and random_.random() < 0.2 and "frame" not in point and i < count - 1:
            point["hold"] = 0.25
        if random_.random() < 0.3:
            point["easing"] = random_.choice(EASINGS)
        if random_.random() < 0.2:
            point["visible"] = False
        for what in ("into", "out"):
            if random_.random() < 0.4:
                point[what] = [round(random_.uniform(-0.3, 0.3), 3) for _ in "xy"]
        points.append(point)
    return {
        "name": f"t{number}",
        "curve": CURVES[number % len(CURVES)],
        "timing": timing,
        "role": random_.choice(ROLES),
        "points": points,
    }


def move(random_):
    return {
        "pan": random_.uniform(-0.5, 0.5),
        "tilt": random_.uniform(-0.5, 0.5),
        "zoom": random_.uniform(0.5, 2),
        "roll": random_.uniform(-90, 90),
        "zoom_curve": random_.choice(ZOOM_CURVES),
        "easing": random_.choice(CAMERA_EASINGS),
        "start": random_.randint(0, 4),
        "end": random_.choice([-1, 12]),
    }


def documents(count):
    made = random.Random(8)
    for number in range(count):
        tracks = [track(made, number + i) for i in range(4)]
        camera = [move(made) for _ in range(number % 3)]
        yield {"version": 1, "tracks": tracks, "camera": camera, "grid": [3, 2], "carry": number % 2 == 1}


def test_tracks_are_sampled_as_in_core(module):
    fit = 0
    for document in documents(40):
        try:
            expected = sample(read_document(document), FRAMES, SIZE)
        except ValueError as refusal:
            found = module("model/sample.js", "sampleAll", document, FRAMES, SIZE)
            assert any(each.get("error") for each in found), refusal
            continue
        fit += 1
        found = module("model/sample.js", "sampleAll", document, FRAMES, SIZE)
        assert len(found) == len(expected.paths)
        for each, path, seen in zip(found, expected.paths.tolist(), expected.visible.tolist(), strict=True):
            assert not each.get("error") and each["seen"] == seen
            for place, exact in zip(each["path"], path, strict=True):
                assert place == pytest.approx(exact, abs=1e-7)
    assert fit >= 25


def test_the_words_are_those_of_core(module):
    for name, words in {
        "CURVES": CURVES,
        "TIMINGS": TIMINGS,
        "EASINGS": EASINGS,
        "ROLES": ROLES,
        "CAMERA_EASINGS": CAMERA_EASINGS,
        "ZOOM_CURVES": ZOOM_CURVES,
    }.items():
        assert module("model/words.js", name) == list(words)
    known = {name: vars(preset) for name, preset in PRESETS.items() if name != "none"}
    rest = module("model/words.js", "MOVE")
    assert {name: {**rest, **own} for name, own in module("model/words.js", "PRESETS").items()} == known


def test_reading_and_writing_again_changes_nothing(module):
    for document in documents(6):
        text = module("model/document.js", "writeDocument", document)
        assert json.loads(text) == document
        again = module("model/document.js", "readText", text, {"size": SIZE})
        assert module("model/document.js", "writeDocument", again) == text


TEXTS = [
    '[[{"x": 1, "y": 2}, {"x": 30.5, "y": 4}], [{"x": 5, "y": 6}]]',
    '[{"x": 1, "y": 2}, {"x": 3, "y": 4}]',
    "[[{'x': 1, 'y': 2}]]",
    "[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]",
    "[[1, 2], [3, 4]]",
    "[[[[1, 2], [3, 4]]]]",
    '{"x": 1, "y": 2}',
    '[{"x": 1, "y": 2}]\n[{"x": 3, "y": 4}]',
    "track,frame,x,y,visible\na,0,1,2,1\na,3,3,4,0\nb,0,5,6,true\n",
    "1,0,10,20\n1,8,30,40\n",
    "# a comment\n1,10,20\n2,30,40",
    "10,20\n30,40",
    "\ufefftrack,x,y\na,1,2\nb,3,4",
    '\ufeff[[{"x": 1, "y": 2}]]',
    '\ufeff{"version": 1, "tracks": [{"name": "a", "points": [[0.5, 0.5]]}]}',
    "1,2\n \n3,4\n,\n",
    "track,frame,x,y,visible\na,0,1,2,0.0\na,3,3,4,1.0",
    "",
    "[]",
]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_of_other_packs_are_read_as_in_core(module, text):
    found = module("model/document.js", "readText", text, {"size": SIZE})
    ours = read_document(found)
    assert ours.tracks == parse(text, Reading(SIZE)).tracks


@pytest.mark.parametrize(
    "text", ["[[1]]", "{", "a,b", "1,2,3,4,5,6", '{"version": 2}', '[[{"x": 1}]]', "1,x"]
)
def test_what_core_refuses_the_page_refuses(module, text):
    with pytest.raises(ValueError):
        parse(text, Reading(SIZE))
    with pytest.raises(Exception, match="Error"):
        module("model/document.js", "readText", text, {"size": SIZE})


def test_every_word_of_the_editors_is_translated(module):
    chinese = module("ui/zh.js", "zh")
    calls = r'(?:\bt|textButton|field|section|checkField|group)\(\s*"((?:[^"\\]|\\.)+)"'
    sources = [path.read_text(encoding="utf-8") for path in (WEB / "js").rglob("*.js") if path.stem != "zh"]
    used = {word for source in sources for word in re.findall(calls, source)}
    choices = {*CURVES, *TIMINGS, *EASINGS, *ROLES, *CAMERA_EASINGS, *ZOOM_CURVES, *PRESETS} - {"none"}
    same = {"pchip", "catmull-rom", "x", "y"}  # names of mathematics
    assert used | choices <= chinese.keys() | same
    every = "\n".join(sources)
    assert not [word for word in chinese if f'"{word}"' not in every and f"{word}:" not in every]


@pytest.mark.parametrize("format_", ["coordinates", "csv"])
def test_exports_are_read_back(module, format_):
    document = next(documents(1))
    text = module("model/exchange.js", "exportText", document, format_, FRAMES, SIZE)
    back = sample(parse(text, Reading(SIZE)), FRAMES, SIZE).paths
    assert back.allclose(sample(read_document(document), FRAMES, SIZE).paths, atol=1e-3)


def test_ati_exports_have_121_points_for_the_whole_clip(module):
    document = next(documents(1))
    text = module("model/exchange.js", "exportText", document, "ati", FRAMES, SIZE)
    ours = json.loads(write_ati(sample(read_document(document), FRAMES, SIZE)))
    for path, expected in zip(json.loads(text), ours, strict=True):
        assert len(path) == 121 and path[60] == {key: pytest.approx(expected[60][key]) for key in "xy"}
    timed = {"points": [{"x": 0, "y": 0, "frame": 0}, {"x": 1, "y": 0, "frame": 15}], "timing": "keys"}
    document = {"version": 1, "tracks": [timed]}
    (path,) = json.loads(module("model/exchange.js", "exportText", document, "ati", 16, SIZE))
    assert [path[i]["x"] for i in (0, 60, 119, 120)] == pytest.approx([0, 192, 380.8, 384], abs=1e-3)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"tracks": [{"name": "a", "points": [{"x": 0, "y": 0, "frame": 30}]}]}, "set for frame 30"),
        (
            {"tracks": [{"name": "a", "points": [[0, 0]]}], "camera": [{"pan": 1, "end": 30}]},
            "end is set for",
        ),
    ],
)
@pytest.mark.parametrize("format_", ["coordinates", "ati", "csv"])
def test_what_does_not_fit_into_the_clip_is_not_exported(module, format_, entries, message):
    with pytest.raises(Exception, match=message):
        module("model/exchange.js", "exportText", {"version": 1, **entries}, format_, FRAMES, SIZE)


def test_a_free_hand_stroke_becomes_few_points_that_keep_its_speed(module):
    """Fast at first, then slow: a quarter of the time for three quarters of the way."""
    stroke = [{"x": 75 * i / 25 if i < 25 else 50 + i, "y": 128.0, "t": 10.0 * i} for i in range(101)]
    points = module("model/stroke.js", "recordedPoints", stroke, 17, [256, 256], 1.5)
    assert len(points) == 3
    assert [point["frame"] for point in points] == pytest.approx([0, 4, 16], abs=0.2)
    path = sample(
        parse(
            json.dumps({"version": 1, "tracks": [{"curve": "linear", "timing": "keys", "points": points}]})
        ),
        17,
        (256, 256),
    ).paths[0]
    for frame, (x, _) in enumerate(path.tolist()):
        assert x == pytest.approx(stroke[round(frame / 16 * 100)]["x"], abs=2)


def test_a_reversed_track_runs_the_same_way_back(module):
    compared = 0
    for document in documents(30):
        document |= {"camera": [], "carry": False}
        for each in document["tracks"]:  # a jump at the end of its time has no mirror image
            for point in each["points"]:
                point.pop("hold", None)
                point.update({"easing": "linear"} if point.get("easing") == "hold" else {})
        try:
            path = sample(read_document(document), FRAMES, SIZE).paths
        except ValueError:
            continue
        back = document
        for place in range(len(document["tracks"])):
            back = module("model/edit.js", "reverseTrack", back, place, FRAMES, SIZE)
        found = sample(read_document(back), FRAMES, SIZE)
        assert found.paths.flip(1).allclose(path, atol=2e-3)
        compared += 1
    assert compared > 15


def test_a_track_whose_times_do_not_fit_is_not_reversed(module):
    points = [{"x": x, "y": 0, "frame": frame} for x, frame in ((0, 0), (0.5, 20), (1, 31))]
    document = {"version": 1, "tracks": [{"name": "a", "timing": "keys", "points": points}]}
    assert module("model/edit.js", "reverseTrack", document, 0, 16, SIZE) == document
