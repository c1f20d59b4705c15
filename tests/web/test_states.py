"""What tools, buttons and fields do to an editor's state, without a host."""

import json

import pytest
from choreographer.core.trajectory.document import read_document
from choreographer.core.trajectory.formats import Reading, parse
from choreographer.core.trajectory.sample import sample
from choreographer.tests.web.page import SITE

SIZE = (256, 256)
TRAJECTORY = """async ([site, text, script]) => {
    const load = (path) => import(`${site}/js/trajectory/${path}`);
    const [{ EditorState }, actions, tools, { trackSection }, { exchangeSection }] = await Promise.all(
        ["state.js", "actions.js", "tools.js", "track_panel.js", "exchange_panel.js"].map(load));
    let stored = text;
    const host = { size: [256, 256], frameSize: () => host.size, store: (next) => (stored = next) };
    const state = new EditorState(host);
    state.load(text);
    const click = (x, y) => tools.TOOLS[state.tool].down(state, [x, y], {}, 9).up([x, y], {});
    const choose = (section, before, value) => {  // a value of the control after some words
        const fields = [...section.querySelectorAll(".choreo-field")];
        const control = fields.find((each) => each.textContent.startsWith(before)).querySelector("select");
        control.value = value;
        control.dispatchEvent(new Event("change"));
    };
    const press = (section, text, label) => {
        section.querySelector("textarea").value = text;
        section.querySelector(`input[value="${label}"]`).click();
        return section.querySelector(".choreo-status").textContent;
    };
    const used = { state, host, actions, tools, click, choose, press, trackSection, exchangeSection };
    const says = new Function(...Object.keys(used), script)(...Object.values(used));
    return { says, text: stored, error: state.sampledTrack?.error ?? null };
}"""
KEYFRAMES = """async ([site, text, place, value]) => {
    const load = (path) => import(`${site}/js/timeline/${path}`);
    const [{ TimelineState }, { TimelineView }] = await Promise.all(["state.js", "view.js"].map(load));
    let stored = text;
    const host = { store: (next) => (stored = next), frames: () => 16, images: () => ["", ""] };
    const state = new TimelineState(host);
    state.load(text);
    state.choose("keys", place);
    const view = new TimelineView(state, { openFull: () => undefined });
    view.draw();
    const field = view.form.querySelector("input[type=number]");
    field.value = value;
    field.dispatchEvent(new Event("change"));
    view.dispose();
    return JSON.parse(stored);
}"""


@pytest.fixture
def play(blank):
    """Run a script on a state of the trajectory editor: its document, text, words, and the track's error."""

    def run(track, script, **entries):
        given = {"version": 1, "size": list(SIZE), "tracks": [track] if track else [], **entries}
        text = track if isinstance(track, str) else json.dumps(given)
        found = blank.evaluate(TRAJECTORY, [SITE, text, script])
        changed = found["text"].startswith("{")
        return {**found, "document": json.loads(found["text"]) if changed else None}

    return run


def track_of(*points, **entries):
    """A track of points (x, frame or None)."""
    made = [{"x": x, "y": 0} | ({} if frame is None else {"frame": frame}) for x, frame in points]
    return {"name": "a", **entries, "points": made}


def frames_of(found, track=0):
    return [point.get("frame") for point in found["document"]["tracks"][track]["points"]]


PLAIN = track_of((0, None), (0.5, None), (1, None))
RECORDED = track_of((0, 0), (0.5, 7), (1, 15), timing="keys")


@pytest.mark.parametrize("curve", ["pchip", "bezier"])
def test_a_double_click_ends_a_path_without_a_twin_of_its_last_point(play, curve):
    drawn = (
        "state.penCurve = '%s'; state.setTool('pen'); click(20, 20); click(120, 20); click(220, 20);" % curve
    )
    once = play(None, drawn)
    found = play(None, drawn + "click(221, 20); tools.endPath(state, 9); return state.tool")
    assert found["document"] == once["document"] and found["says"] == "select"
    assert len(found["document"]["tracks"][0]["points"]) == 3
    apart = play(None, drawn + "click(60, 90); tools.endPath(state, 9)")
    assert len(apart["document"]["tracks"][0]["points"]) == 4


def test_a_double_click_alone_is_a_point_that_stays(play):
    found = play(None, "state.setTool('pen'); click(20, 20); click(20, 20); tools.endPath(state, 9)")
    assert [len(track["points"]) for track in found["document"]["tracks"]] == [1]


@pytest.mark.parametrize(("frame", "expected"), [(0, 1), (15, 14), (7, 7), (-1, -2), (-16, -15), (2.5, 2.5)])
def test_a_point_is_retimed_between_the_ends_of_the_clip(play, frame, expected):
    found = play(PLAIN, f"state.commit(actions.retime(state, 1, {frame}))")
    assert frames_of(found) == [None, expected, None] and found["error"] is None


def test_a_point_is_retimed_between_the_holds_around_it(play):
    track = track_of((0, None), (0.3, None), (0.6, None), (1, None))
    track["points"][1]["hold"], track["points"][3]["hold"] = 3, 2
    for frame, expected in ((0, 4), (15, 12)):
        found = play(track, f"state.commit(actions.retime(state, 2, {frame}))")
        assert frames_of(found)[2] == expected and found["error"] is None


def test_where_there_is_no_whole_frame_a_point_is_half_way(play):
    found = play(track_of((0, 3), (0.5, None), (1, 4)), "state.commit(actions.retime(state, 1, 8))")
    assert frames_of(found) == [3, 3.5, 4] and found["error"] is None


@pytest.mark.parametrize(
    ("point", "frame", "expected"), [(2, -1, -1), (1, -16, -15), (2, 3, 8), (2, None, None)]
)
def test_a_frame_counted_from_the_end_is_kept_as_such(play, point, frame, expected):
    found = play(RECORDED, f"state.commit(actions.retime(state, {point}, {json.dumps(frame)}))")
    assert frames_of(found)[point] == expected and found["error"] is None


def test_a_locked_track_keeps_its_times(play):
    locked = {**RECORDED, "locked": True}
    for frame in ("null", "3"):
        found = play(locked, f"state.commit(actions.retime(state, 1, {frame}))")
        assert found["document"]["tracks"] == [locked]


@pytest.mark.parametrize("last", [15, -1])
def test_a_point_added_after_one_at_the_end_is_reached_at_the_end(play, last):
    track = track_of((0, 0), (0.5, 7), (0.9, last), timing="keys")
    found = play(track, "actions.insert(state)")
    assert frames_of(found) == [0, 7, None, last] and found["error"] is None
    ours = sample(read_document(found["document"]), 16, SIZE).paths[0]
    assert ours[7, 0] == 128 and ours[15, 0] == pytest.approx(0.95 * 256)


def test_a_point_is_added_after_one_that_holds_to_the_end(play):
    track = track_of((0, 0), (0.5, 10), (0.9, 12))
    track["points"][2]["hold"] = 3
    found = play(track, "actions.insert(state)")
    assert frames_of(found) == [0, 10, None, 15] and found["error"] is None


def test_a_point_added_after_one_in_the_clip_leaves_the_times(play):
    found = play(track_of((0, 0), (0.5, 7), timing="keys"), "actions.insert(state)")
    assert frames_of(found) == [0, 7, None] and found["error"] is None


def test_a_path_goes_on_from_a_point_that_was_set_to_the_end(play):
    script = "state.setTool('pen'); click(9, 9); click(99, 9); state.commit(actions.retime(state, 1, 15));"
    found = play(None, script + "click(200, 9)")
    assert frames_of(found) == [None, None, 15] and found["error"] is None


KEYS = "choose(trackSection(state), 'Timing', 'keys')"


def test_timing_by_keys_gives_frames_that_rise(play):
    track = track_of((0, None), (0.5, None), (1, None))
    track["points"][0]["easing"] = "hold"
    found = play(track, KEYS)
    assert frames_of(found) == [0, 7.5, 15] and found["error"] is None


def test_times_that_do_not_fit_are_not_made_up(play):
    track = track_of((0, 0), (0.5, None), (1, 31))
    for script in (KEYS, "actions.reverse(state)", "actions.simplify(state)"):
        found = play(track, script)
        assert found["document"]["tracks"] == [track] and "frame 31" in found["error"]


COORDINATES = '[[{"x": 96, "y": 64}, {"x": 288, "y": 192}]]'


def test_coordinates_are_those_of_the_nodes_frame_also_when_its_size_comes_later(play):
    nudged = "state.select(state.selection.plus([[0, 0]])); actions.nudge(state, 1, 0);"
    found = play(COORDINATES, "host.size = [384, 256]; state.reread();" + nudged)
    assert found["document"]["size"] == [384, 256]
    (track,) = found["document"]["tracks"]
    assert track["points"] == [{"x": 0.252604, "y": 0.25}, {"x": 0.75, "y": 0.75}]
    undone = play(COORDINATES, "host.size = [384, 256]; state.reread();" + nudged + "state.step(-1)")
    assert undone["text"] == COORDINATES


def test_fractions_and_broken_texts_are_not_read_again(play):
    changed = "host.size = [384, 256]; const { doc } = state; state.reread(); return doc === state.doc"
    assert play(PLAIN, changed)["says"]
    assert play("[[", changed)["says"]


@pytest.mark.parametrize("label", ["Use this text", "Add these tracks"])
def test_pasted_coordinates_are_those_of_the_nodes_frame(play, label):
    script = f"host.size = [384, 256]; return press(exchangeSection(state), '{COORDINATES}', '{label}')"
    found = play(None, script)
    assert found["says"] == "Tracks taken: 1 | Pixels of 384 x 256"
    expected = parse(COORDINATES, Reading((384, 256))).tracks[0].points
    assert read_document(found["document"]).tracks[0].points == expected
    assert found["document"]["size"] == ([384, 256] if label.startswith("Use") else [256, 256])


def test_added_text_brings_its_names_and_its_camera(play):
    other = {"version": 1, "tracks": [track_of((0, None)), track_of((0, None), name="ball")]}
    other |= {"camera": [{"pan": 0.2}], "grid": [3, 2], "carry": True}
    script = f"return press(exchangeSection(state), `{json.dumps(other)}`, 'Add these tracks')"
    found = play(PLAIN, script)
    assert found["says"] == "Tracks taken: 2 | Camera moves taken: 1"
    assert [track["name"] for track in found["document"]["tracks"]] == ["a", "2", "ball"]
    together = read_document({"version": 1, "size": list(SIZE), "tracks": [PLAIN]}).plus(read_document(other))
    found["document"]["tracks"][1]["name"] = "a"
    assert read_document(found["document"]) == together
    moves = play(PLAIN, script, camera=[{"tilt": 0.1}], grid=[4, 4])["document"]
    assert moves["camera"] == [{"tilt": 0.1}, {"pan": 0.2}] and moves["grid"] == [4, 4]


def test_used_csv_keeps_its_names(play):
    script = "return press(exchangeSection(state), 'ball,1,2\\nground,3,4', 'Use this text')"
    assert [track["name"] for track in play(PLAIN, script)["document"]["tracks"]] == ["ball", "ground"]


@pytest.mark.parametrize(("typed", "expected"), [("-1", -1), ("-16", -15), ("9", 9), ("0", 1)])
def test_a_keyframe_at_the_last_frame_stays_the_last(blank, typed, expected):
    text = json.dumps({"version": 1, "keys": [{"frame": 0}, {"frame": 5}], "prompts": []})
    found = blank.evaluate(KEYFRAMES, [SITE, text, 1, typed])
    assert found["keys"] == [{"frame": 0}, {"frame": expected}]
