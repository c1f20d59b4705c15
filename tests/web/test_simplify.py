"""Long tracks become a few points, and are where they were."""

import pytest

SIZE = (384, 256)


def bezier(x, y, **handles):
    return {"x": x, "y": y, **handles}


LONG = {
    "growing speed": {"points": [{"x": (i / 16) ** 3, "y": 0.5} for i in range(17)]},
    "a corner": {"points": [{"x": min(i / 32, 1), "y": max(i / 32 - 1, 0)} for i in range(65)]},
    "a corner at constant speed": {
        "timing": "length",
        "points": [{"x": min(i / 9, 1), "y": max(i / 9 - 1, 0)} for i in range(19)],
    },
    "keys": {
        "timing": "keys",
        "points": [{"x": (i / 16) ** 3, "y": 0.5, "frame": i - 17 if i % 2 else i} for i in range(17)],
    },
    "a Bezier curve": {
        "curve": "bezier",
        "points": [
            bezier(0, 0.5, out=[0, -0.4]),
            bezier(0.5, 0.5, into=[0, -0.4], out=[0, 0.4]),
            bezier(1, 0.5, into=[0, 0.4]),
        ],
    },
    "hidden for a while": {
        "timing": "length",
        "points": [{"x": i / 16, "y": 0.5, **({"visible": False} if i == 5 else {})} for i in range(17)],
    },
    "a hold": {
        "timing": "length",
        "points": [{"x": i / 16, "y": 0, "hold": 3 * (i == 8)} for i in range(17)],
    },
    "frames that do not fit": {"points": [{"x": i / 16, "y": 0, "frame": i + 5} for i in range(17)]},
}
SHORTER = {"growing speed", "a corner", "a corner at constant speed", "keys", "hidden for a while", "a hold"}


@pytest.mark.parametrize("name", LONG)
def test_a_simplified_track_is_where_it_was_at_any_time(module, name):
    track = {"name": "a", **LONG[name]}
    points = module("model/simplify.js", "simplifiedPoints", track, 17, SIZE, 2)
    assert len(points) < len(track["points"]) if name in SHORTER else points == track["points"]
    before, after = (
        module("model/sample.js", "sampleTrack", each, 17, SIZE)
        for each in (track, {**track, "points": points})
    )
    assert before["seen"] == after["seen"] and before.get("error") == after.get("error")
    for was, now in zip(before["path"], after["path"], strict=True):
        assert now == pytest.approx(was, abs=2)
