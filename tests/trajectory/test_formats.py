"""Texts: the pack's own JSON, other packs' coordinates, CSV, TRACKS."""

import json

import pytest
import torch
from choreographer.core.trajectory.camera import preset
from choreographer.core.trajectory.document import write_document
from choreographer.core.trajectory.formats import (
    Reading,
    parse,
    read_tracks,
    write_ati,
    write_coordinates,
    write_csv,
    write_tracks,
)
from choreographer.core.trajectory.sample import sample
from choreographer.core.trajectory.track import Point, Track, Trajectories

SIZE = (200, 100)
READING = Reading(SIZE)
TWO = [[(20, 10), (40, 90)], [(100, 50)]]


def pixels(trajectories):
    return [[(round(p.x * 200, 6), round(p.y * 100, 6)) for p in t.points] for t in trajectories.tracks]


def as_dicts(tracks):
    return [[{"x": x, "y": y, "highlighted": False} for x, y in track] for track in tracks]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(as_dicts(TWO)),
        json.dumps([as_dicts(TWO)]),  # a batch of one
        json.dumps(TWO),
        str(as_dicts(TWO)).replace("False", "0"),  # single quotes
        "\n".join(map(json.dumps, as_dicts(TWO))),  # a track a line
        "track,frame,x,y\na,0,20,10\na,5,40,90\nb,0,100,50",
        "1,20,10\n2,100,50\n1,40,90\n",
        "# a comment\ny, x, track\n10,20,1\n90,40,1\n50,100,2",
        "\ufefftrack,x,y\na,20,10\na,40,90\nb,100,50",  # as Excel writes it
        "\ufeff" + json.dumps(TWO),
        "1,20,10\n \n1,40,90\n,,\n2,100,50\n",  # blank lines
    ],
)
def test_coordinates_in_all_their_shapes(text):
    assert pixels(parse(text, READING)) == TWO


@pytest.mark.parametrize("text", [json.dumps(as_dicts(TWO)[0]), json.dumps(TWO[0]), "20,10\n40,90"])
def test_a_single_track_may_come_unwrapped(text):
    assert pixels(parse(text, READING)) == TWO[:1]


@pytest.mark.parametrize("text", ["", "  \n", "[]", '{"version": 1}'])
def test_nothing_is_no_tracks(text):
    assert parse(text, READING).tracks == ()


def test_units_role_curve_and_timing():
    texts = {"percent": "10,10\n20,90", "fraction": "0.1,0.1\n0.2,0.9", "pixels": "20,10\n40,90"}
    same = [parse(text, Reading(SIZE, unit, "camera", "linear", "length")) for unit, text in texts.items()]
    assert same[0].tracks == same[1].tracks == same[2].tracks
    assert (same[0].tracks[0].role, same[0].tracks[0].curve, same[0].tracks[0].timing) == (
        "camera",
        "linear",
        "length",
    )


def test_our_own_json_comes_back_whole():
    points = (
        Point(0.1, 0.2, 0, "ease in", 2.0, False, None, (0.1, -0.1)),
        Point(0.3, 1.4, -1, into=(0.0, 0.2)),
    )
    whole = Trajectories(
        (Track(points, "ball", "bezier", "keys", "object", 0.5, False), Track((Point(0, 0),))),
        (preset("dolly in"), preset("pan left")),
        (3, 2),
        True,
        (384, 256),
    )
    text = write_document(whole)
    assert parse(text) == whole and write_document(parse(text)) == text
    assert parse(write_document(Trajectories())) == Trajectories()


def test_what_an_editor_keeps_for_itself_is_allowed():
    entry = {"points": [[0, 0]], "colour": "red", "locked": True}
    text = json.dumps({"version": 1, "size": None, "frames": 16, "tracks": [entry]})
    assert len(parse(text).tracks) == 1 and parse(text).size is None


def document(**track):
    return json.dumps({"version": 1, "tracks": [{"points": [{"x": 0, "y": 0}]}, {"name": "ball", **track}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"tracks": []}', "has version None, this pack reads version 1"),
        ('{"version": 2}', "has version 2"),
        ('{"version": 1, "trakcs": []}', "unknown entry 'trakcs', expected camera"),
        ('{"version": 1, "tracks": {}}', "tracks is {}, expected a list"),
        ('{"version": 1, "tracks": [7]}', "Track '1' is 7, expected a JSON object"),
        ('{"version": 1, "size": [3]}', r"size is \[3\], expected two numbers"),
        ('{"version": 1, "carry": 1}', "carry is 1, expected true or false"),
        ('{"version": 1, "camera": [{"zoom": "x"}]}', "zoom is 'x', expected a number"),
        ('{"version": 1, "size": 0}', "size is 0, expected two numbers"),
        ('{"version": 1, "size": ""}', "size is '', expected two numbers"),
        ('{"version": 1, "size": false}', "size is False, expected two numbers"),
        ('{"version": 1, "size": []}', r"size is \[\], expected two numbers"),
        (document(points=[[0, 0]], weight=10**400), "Track 'ball': weight is 1000*, expected a number"),
        (document(), "Track 'ball' has no points"),
        (document(points=[{"x": 1}]), "Track 'ball', key 1 has no y"),
        (document(points=[[0, 0], {"x": "a", "y": 0}]), "Track 'ball', key 2: x is 'a', expected a number"),
        (document(points=[[0, 0]], wieght=1), "Track 'ball' has an unknown entry 'wieght'"),
        (document(points=[{"x": 0, "y": 0, "out": 3}]), "Track 'ball', key 1: out is 3, expected two"),
        (document(points=[[0, 0]], visible="no"), "Track 'ball': visible is 'no', expected true"),
        ('[[{"x": 1, "y": 2}, {"x": 1}]]', "Track '1', key 2: y is None, expected a number"),
        ("[[1, 2], 5]", "Track '1', key 2 is 5, expected an x and a y"),
        ('[{"x": 1', "not valid JSON: .* in line 1, column"),
        ("[[[[1, 2]]], [[[1, 2]]]]", "hold 2 batches of tracks, expected one"),
        ("hello", "expected JSON as in"),
        ("1,2,a", "CSV row 1: y is 'a', expected a number"),
        ("x,y\n1,2\n3", "CSV row 2 has 1 cells, expected 2"),
        ("x,y\n1,inf", "Track '1', key 1: y is inf"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text, READING)


def test_the_reading_is_checked():
    with pytest.raises(ValueError, match="Unit of the coordinates is 'mm'"):
        Reading(unit="mm")


def test_what_is_written_is_read_again():
    drawn = Trajectories((Track((Point(0.1, 0.2), Point(0.5, 0.9), Point(0.8, 0.3))),), (preset("zoom in"),))
    found = sample(drawn, 121, SIZE)
    for text in (write_coordinates(found), write_csv(found)):
        again = sample(parse(text, Reading(SIZE, curve="linear")), 121, SIZE)
        torch.testing.assert_close(again.paths, found.paths, atol=1e-4, rtol=0)
    assert len(json.loads(write_coordinates(found))[0]) == 121


def test_what_is_hidden_in_csv():
    text = "\n".join(
        f"{i},{i},{i},{seen}" for i, seen in enumerate(("1", "1.0", "true", "0", "0.0", "False", ""))
    )
    points = parse("track,x,y,visible\n" + text, READING).tracks
    assert [track.points[0].visible for track in points] == [True] * 3 + [False] * 4


def test_ati_gets_the_whole_clip_in_121_points():
    points = (Point(0, 0, 0), Point(0.25, 0.5, 5), Point(1, 0.5, 15))
    found = sample(Trajectories((Track(points, curve="linear", timing="keys"),)), 16, SIZE)
    (path,) = json.loads(write_ati(found))
    assert len(path) == 121
    assert [path[i] for i in (0, 40, 80, 120)] == [
        {"x": x, "y": y} for x, y in ((0, 0), (50, 50), (125, 50), (200, 50))
    ]
    assert path[44]["x"] == pytest.approx(57.5)  # half way from frame 5 to 6
    still = sample(Trajectories((Track((Point(0.5, 0.5),)),)), 1, SIZE)
    assert json.loads(write_ati(still)) == [[{"x": 100, "y": 50}] * 121]
    assert write_ati(sample(Trajectories(), 16, SIZE)) == "[]"


def test_tracks_of_the_host():
    paths = torch.rand(3, 7, 2, generator=torch.Generator().manual_seed(0)).double() * 100
    visible = torch.ones(3, 7, dtype=torch.bool)
    visible[1, 3:5] = False
    tracks = write_tracks(paths, visible)
    assert tracks["track_path"].shape == (7, 3, 2) and tracks["track_visibility"].shape == (7, 3)
    found = sample(Trajectories(read_tracks(tracks, Reading(SIZE, curve="linear"))), 7, SIZE)
    torch.testing.assert_close(found.paths, paths, atol=1e-4, rtol=0)
    assert torch.equal(found.visible, visible)
    assert len(read_tracks({"track_path": tracks["track_path"][None]}, READING)) == 3


@pytest.mark.parametrize(
    ("tracks", "message"),
    [
        ({}, "TRACKS hold NoneType as track_path"),
        ({"track_path": torch.zeros(3, 2)}, r"TRACKS hold \(3, 2\) as track_path"),
        ({"track_path": torch.zeros(2, 5, 3, 2)}, "TRACKS hold 2 clips"),
        (
            {"track_path": torch.zeros(5, 3, 2), "track_visibility": torch.ones(4)},
            r"hold \(4,\) as track_vis",
        ),
    ],
)
def test_other_values_are_no_tracks(tracks, message):
    with pytest.raises(ValueError, match=message):
        read_tracks(tracks, READING)
