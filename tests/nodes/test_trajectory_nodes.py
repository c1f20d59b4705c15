"""The trajectory nodes on a real host: text and moves to flow maps, pictures, tracks and errors."""

import json
import math

import pytest
import torch
from choreographer.tests.nodes.control import make_net, patcher, run_guider
from choreographer.tests.nodes.demo import make_demo_model
from choreographer.tests.nodes.tiny import make_cond, pack

SIZE = {"width": 96, "height": 64}
CLIP = {"frames": 8, **SIZE}
STILL_CAMERA = {
    "preset": "none", "amount": 1.0, "pan": 0.0, "tilt": 0.0, "zoom": 1.0, "roll": 0.0,
    "zoom_curve": "as preset", "easing": "as preset", "start": 0, "end": -1, "columns": 2, "rows": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def nodes(comfy_host):
    """The node classes by id."""
    return {node.define_schema().node_id: node for node in pack("nodes").NODES}


@pytest.fixture
def run(nodes):
    """Function: id without its prefix, inputs -> outputs by their display names."""

    def execute(name, **inputs):
        node = nodes[f"Choreo{name}"]
        names = [output.display_name for output in node.define_schema().outputs]
        return dict(zip(names, node.execute(**inputs).result, strict=True))

    return execute


def read(run, text="96,0\n0,64"):
    return run("Trajectories", trajectories=text, **SIZE)["trajectories"]


def camera(run, **inputs):
    return run("CameraMove", **{**STILL_CAMERA, **inputs})["trajectories"]


def flow_map(run, trajectories, role="all", **clip):
    return run("FlowMap", trajectories=trajectories, role=role, sigma=10.0, **{**CLIP, **clip})


def moving_clip():
    """A smooth random ground that moves 2 pixels a frame to the left, (8, 64, 96, 3)."""
    noise = torch.rand(1, 3, 16, 32, generator=torch.Generator().manual_seed(1))
    wide = torch.nn.functional.interpolate(noise, (64, 128), mode="bicubic").clamp(0, 1)
    return torch.stack([wide[0, :, :, 2 * i : 2 * i + 96] for i in range(8)]).movedim(1, -1)


def test_the_default_text_moves_something_and_is_the_same_each_time(nodes, run):
    text = nodes["ChoreoTrajectories"].define_schema().inputs[0].default
    maps = [flow_map(run, read(run, text)) for _ in range(2)]
    assert maps[0]["notes"] == "" and maps[0]["flow_map"].any()
    assert torch.equal(maps[0]["flow_map"], maps[1]["flow_map"])
    assert maps[0]["flow_map"].shape == (8, 2, 64, 96) and maps[0]["flow_map"].dtype == torch.float32


def test_roles_part_what_all_holds(run):
    both = run(
        "CombineTrajectories", first=read(run), second=camera(run, preset="pan left"), carry_objects=False
    )["trajectories"]
    parts = {role: flow_map(run, both, role)["flow_map"] for role in ("all", "object", "camera")}
    torch.testing.assert_close(parts["all"], parts["object"] + parts["camera"])
    assert parts["object"][:, 1].sum() > 1 and parts["camera"][:, 1].abs().max() < 1e-9
    carried = run("CombineTrajectories", first=both, second=read(run, ""), carry_objects=True)["trajectories"]
    path = export(run, carried, "csv")["tracks"]["track_path"][:, 0]
    torch.testing.assert_close(path[-1], torch.tensor((24.0, 64.0)))  # drawn to (0, 64), and 24 to the right


def test_camera_moves_chain_and_add_to_their_preset(run):
    one = camera(run, preset="pan right", pan=-0.5, zoom=2.0, end=3)
    two = camera(run, preset="down then up", amount=2.0, easing="linear", start=4, previous=one)
    first, second = two.camera
    assert (first.pan, first.zoom, first.end) == (-0.25, 2.0, 3)
    assert (second.tilt, second.easing, second.start) == (-0.5, "linear", 4)
    assert camera(run, preset="left then right").camera[0].easing == "there and back"
    assert camera(run, preset="dolly in").camera[0].zoom_curve == "dolly"


def test_notes_tell_what_leaves_the_frame(run):
    made = flow_map(run, read(run, "a,90,30\na,120,30"))
    assert made["notes"].startswith("Track 'a' is outside the frame in frames 2 to 6")
    assert flow_map(run, read(run, ""))["notes"] == "There is no visible track: nothing moves."


def from_points(run, **inputs):
    settings = {"coordinates": "", "unit": "pixels", "role": "object", "curve": "linear", "timing": "points"}
    return run("TrajectoriesFromPoints", **SIZE, **{**settings, **inputs})["trajectories"]


def export(run, trajectories, form):
    return run("ExportTrajectories", trajectories=trajectories, format=form, **CLIP)


@pytest.mark.parametrize("form", ["coordinates", "csv", "trajectories"])
def test_what_is_exported_comes_back(run, form):
    drawn = read(run, "10,10\n50,60\n90,20")
    out = export(run, drawn, form)
    again = from_points(run, coordinates=out["text"])
    torch.testing.assert_close(flow_map(run, again)["flow_map"], flow_map(run, drawn)["flow_map"], atol=1e-5,
                               rtol=0)  # fmt: skip
    assert out["tracks"]["track_path"].shape == (8, 1, 2)
    by_tracks = from_points(run, tracks=out["tracks"])
    torch.testing.assert_close(flow_map(run, by_tracks)["flow_map"], flow_map(run, drawn)["flow_map"],
                               atol=1e-5, rtol=0)  # fmt: skip


def test_ati_gets_121_points_of_the_clips_frames(run):
    out = export(run, read(run, "1,0,10,10\n1,7,80,10"), "ati")
    (path,) = json.loads(out["text"])
    assert len(path) == 121 and [path[i]["x"] for i in (0, 60, 120)] == [10, 45, 80]
    assert out["tracks"]["track_path"].shape == (8, 1, 2)


def test_points_need_one_source(run):
    tracks = export(run, read(run), "csv")["tracks"]
    for inputs, given in (({}, "neither"), ({"coordinates": "1,2", "tracks": tracks}, "both")):
        with pytest.raises(ValueError, match=f"needs coordinates or tracks, got {given}"):
            from_points(run, **inputs)


def test_the_preview_is_drawn_at_the_images_size_and_leaves_the_map(run):
    drawn = read(run)
    made = flow_map(run, drawn)["flow_map"]
    before = made.clone()
    image = torch.full((1, 100, 200, 3), 0.5)
    shown = run("FlowMapPreview", flow_map=made, arrows=True, trajectories=drawn, image=image)
    assert shown["picture"].shape == (1, 100, 200, 3) and shown["clip"].shape == (8, 100, 200, 3)
    assert torch.equal(made, before) and (image == 0.5).all()
    bare = run("FlowMapPreview", flow_map=made, arrows=True)
    assert bare["clip"].shape == (8, 64, 96, 3) and bare["clip"].std() > 0
    with pytest.raises(ValueError, match="nothing to draw"):
        run("FlowMapPreview", flow_map=made, arrows=False)


@pytest.fixture(scope="module")
def models(comfy_host):
    """A flow net and the model that it fits."""
    return patcher(make_net()), make_demo_model()


def followed(run, models, trajectories, mode="object", **clip):
    """Latents of a clip that follows trajectories, from the registered nodes alone."""
    net, model = models
    made = flow_map(run, trajectories, **{"frames": 4, "width": 64, "height": 64, **clip})["flow_map"]
    prompts = run(
        "ApplyTrajectoryControlNet", positive=make_cond(1), negative=make_cond(2),
        control_net=net, flow_map=made, mode=mode, camera_weight=1.0, object_weight=1.0,
        strength=1.0, start_percent=0.0, end_percent=1.0,
    )  # fmt: skip
    guider = run("CameraFreeGuider", model=model, **prompts, cfg=4.0, trajectory_scale=1.5,
                 form="eq5", start_percent=0.0, end_percent=1.0)["guider"]  # fmt: skip
    return run_guider(guider, frames=4, steps=1)


def test_trajectories_reach_the_sampler(run, models):
    across, down = read(run, "10,10\n80,10"), read(run, "10,10\n10,50")
    clip = followed(run, models, across)
    assert torch.equal(followed(run, models, across), clip)
    others = [
        followed(run, models, down),
        followed(run, models, across, "camera"),
        followed(run, models, read(run, "")),
    ]
    assert all((other - clip).abs().max() > 1e-4 for other in others)
    with pytest.raises(ValueError, match="The flow map is 96x64, the clip is 64x64"):
        followed(run, models, across, width=96)


TRACKING = {"columns": 3, "rows": 2, "window": 15, "levels": 3, "tolerance": 1.0, "role": "camera"}


def test_points_are_tracked_and_become_trajectories(run):
    clip = moving_clip()
    found = run("TrackPoints", images=clip, **TRACKING)
    path, seen = found["tracks"]["track_path"], found["tracks"]["track_visibility"]
    assert path.shape == (8, 6, 2) and seen.all()
    torch.testing.assert_close(
        path[-1] - path[0], torch.tensor([[-14.0, 0.0]]).expand(6, 2), atol=0.5, rtol=0
    )
    assert {track.role for track in found["trajectories"].tracks} == {"camera"}
    again = run("TrackPoints", images=clip, **TRACKING, tracks=found["tracks"])
    drawn = run("TrackPoints", images=clip, **TRACKING, trajectories=found["trajectories"])
    assert torch.equal(again["tracks"]["track_path"], path)
    torch.testing.assert_close(drawn["tracks"]["track_path"], path, atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="got both"):
        run("TrackPoints", images=clip, **TRACKING, **{k: found[k] for k in ("tracks", "trajectories")})


def test_errors_of_a_clip(run):
    clip, right = moving_clip(), camera(run, pan=14 / 96)
    found = run("TrajectoryError", images=clip, trajectories=right, **SIZE)
    assert found["camera_error"] < 0.3 and math.isnan(found["object_error"]) and found["lost"] == 0
    assert json.loads(found["report"])["CamMC"] == pytest.approx(found["camera_error"], abs=1e-6)
    assert found["plot"].shape[0] == 1
    wrong = run("TrajectoryError", images=clip, trajectories=camera(run), **SIZE)
    assert wrong["camera_error"] == pytest.approx(7, abs=0.2)  # mean of 0 to 14
    tracks = export(run, camera(run), "csv")["tracks"]
    given = run("TrajectoryError", images=clip, trajectories=camera(run), tracks=tracks, **SIZE)
    assert given["camera_error"] == pytest.approx(0, abs=1e-4)


def test_interrupt_stops_the_tracker(run):
    import comfy.model_management

    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run("TrackPoints", images=moving_clip(), **TRACKING)
