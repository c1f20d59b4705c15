"""Faces in a real host: what stays bit for bit, whose prompt and noise are used, what is refused."""

import numpy as np
import pytest
import torch
from choreographer.tests.nodes.clips import FRAMES, HEIGHT, WIDTH, Vae, call, clip
from choreographer.tests.nodes.tiny import make_cond, make_motion, pack

pytestmark = pytest.mark.usefixtures("comfy_host")


def tracked(*lines, frames=FRAMES):
    """FACE_TRACKS of boxes given as text."""
    (tracks, count) = call(
        pack("nodes.faces").TrackFaces, clip(frames), 8, 1, 0.0, False, "all", "\n".join(lines)
    )
    assert count == len(tracks.tracks)
    return tracks


def refine(model, images, tracks, mask=None, positive=None, **changes):
    values = {
        "seed": 3, "gamma": 0.15, "steps": 2, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal",
        "denoise": 0.8, "crop": "tracked", "crop_factor": 2.0, "guide_size": 48, "paste_factor": 1.5,
        "skip_large": True, "feather": 2.0, "colour_match": 0.5, **changes,
    }  # fmt: skip
    positive = make_cond(11) if positive is None else positive
    node = pack("nodes.refine").RefineFaces
    return call(node, images, tracks, model, Vae(), positive, make_cond(12), *values.values(), mask=mask)


def test_frames_without_the_face_are_bit_identical(model):
    images = clip()
    tracks = tracked("2: 30, 20, 50, 40", "3: 32, 20, 52, 40", "4: 34, 20, 54, 40")
    made, report = refine(model, images, tracks)
    assert made.shape == images.shape and torch.equal(made[[0, 1, 5]], images[[0, 1, 5]])
    assert all(not torch.equal(made[f], images[f]) for f in (2, 3, 4))
    assert torch.equal(made[3, 50:], images[3, 50:]) and torch.equal(made[3, :, 80:], images[3, :, 80:])
    assert "face 0: frames 2-4" in report and "(1.20 times)" in report
    again, _ = refine(model, images, tracks)
    assert torch.equal(made, again)


def test_no_face_a_mask_of_zeros_denoise_zero_and_large_faces_change_nothing(model):
    images = clip()
    nothing = tracked()
    made, report = refine(model, images, nothing)
    assert made is images and "no face" in report
    tracks = tracked("30, 20, 50, 40")
    assert torch.equal(refine(model, images, tracks, torch.zeros(FRAMES, HEIGHT, WIDTH))[0], images)
    assert torch.equal(refine(model, images, tracks, denoise=0.0)[0], images)
    made, report = refine(model, images, tracks, guide_size=16)
    assert torch.equal(made, images) and "skipped" in report
    made, report = refine(model, images, tracks, guide_size=16, skip_large=False)
    assert not torch.equal(made, images) and "skipped" not in report


def test_all_frames_of_a_crop_are_sampled_as_one_clip_with_the_clips_noise(model, moving, monkeypatch):
    host, seen = pack("nodes.host.refine"), []
    true = host.sample_with_noise

    def watch(model, noise, settings, positive, negative, latent):
        seen.append((latent["samples"].shape, latent["batch_index"], noise.generate_noise(latent)))
        return true(model, noise, settings, positive, negative, latent)

    monkeypatch.setattr(host, "sample_with_noise", watch)
    refine(moving, clip(), tracked("1: 30, 20, 50, 40", "2: 30, 20, 50, 40", "3: 30, 20, 50, 40"))
    ((shape, places, noise),) = seen
    assert shape == (3, 4, 6, 6) and places == [1, 2, 3]
    whole = pack("core.noise").gaussian_prior(4, (4, 6, 6), 0.15, pack("core.noise").seeded(3))
    assert torch.equal(noise, whole[1:4])


def test_each_track_has_its_own_prompt(model):
    images, tracks = clip(), tracked("10, 20, 30, 40", "60, 20, 80, 40")
    (own,) = call(pack("nodes.faces").FacePrompt, tracks, make_cond(40), "1")
    plain, changed = refine(model, images, tracks)[0], refine(model, images, own)[0]
    middle = WIDTH // 2
    sides = [torch.equal(plain[:, :, :middle], changed[:, :, :middle]), torch.equal(plain, changed)]
    assert sides == [True, False] or torch.equal(plain[:, :, middle:], changed[:, :, middle:])
    assert not torch.equal(plain, changed)


def test_prompts_by_frame_are_cut_to_the_faces_frames(model):
    host = pack("nodes.host.refine")
    cond = torch.arange(FRAMES).float().view(FRAMES, 1, 1).expand(FRAMES, 3, 4)
    prompt = [[cond, {"choreo_frames": FRAMES, "pooled_output": cond[:, 0], "strength": 1.0}]]
    ((part, options),) = host.prompt_of_frames(prompt, range(2, 5), FRAMES)
    assert part[:, 0, 0].tolist() == [2, 3, 4] == options["pooled_output"][:, 0].tolist()
    assert (
        options["choreo_frames"] == 3
        and options["strength"] == 1.0
        and prompt[0][1]["choreo_frames"] == FRAMES
    )
    one = make_cond(11)
    assert host.prompt_of_frames(one, range(2, 5), FRAMES)[0][0] is one[0][0]
    scheduled = [[torch.randn(FRAMES, 7, 64), {"choreo_frames": FRAMES}]]
    assert refine(model, clip(), tracked("1: 30, 20, 50, 40"), positive=scheduled)[0].shape == clip().shape


def test_a_face_seen_once_and_a_clip_of_one_frame(model, moving):
    once = tracked("4: 30, 20, 50, 40")
    made, _ = refine(moving, clip(), once)
    assert not torch.equal(made[4], clip()[4]) and torch.equal(made[:4], clip()[:4])
    single = tracked("30, 20, 50, 40", frames=1)
    for kind in (model, moving):
        made, _ = refine(kind, clip(1), single)
        assert made.shape == clip(1).shape and not torch.equal(made, clip(1))


def test_a_face_at_the_border_and_static_crops(model):
    images = clip()
    for crop in ("tracked", "static"):
        boxes = tracked("0: 80, 0, 96, 14", "1: 70, 2, 86, 16")
        made, report = refine(model, images, boxes, crop=crop, guide_size=64)
        assert torch.isfinite(made).all() and torch.equal(made[2:], images[2:]) and "face 0" in report
        assert not torch.equal(made[:2], images[:2])


def test_one_mask_counts_for_all_frames_and_a_wrong_one_is_refused_first(model, monkeypatch):
    images, tracks = clip(), tracked("30, 20, 50, 40")
    one = torch.zeros(1, HEIGHT, WIDTH)
    one[:, :, :40] = 1
    each = refine(model, images, tracks, one.expand(FRAMES, -1, -1))[0]
    assert torch.equal(refine(model, images, tracks, one)[0], each) and not torch.equal(each, images)
    monkeypatch.setattr(pack("nodes.host.refine"), "sample_with_noise", None)  # nothing is sampled
    for wrong in (one.expand(2, -1, -1), one[..., :50]):
        with pytest.raises(ValueError, match="The mask is .*, or one for all"):
            refine(model, images, tracks, wrong)


def test_a_face_of_one_frame_takes_its_row_of_a_schedule(moving):
    rows = torch.cat([make_cond(30 + f)[0][0] for f in range(FRAMES)])
    once = tracked("4: 30, 20, 50, 40")
    scheduled = refine(moving, clip(), once, positive=[[rows, {"choreo_frames": FRAMES}]])[0]
    assert torch.equal(scheduled, refine(moving, clip(), once, positive=[[rows[4:5], {}]])[0])
    with pytest.raises(ValueError, match="The prompt schedule has 5 frames"):
        refine(moving, clip(), once, positive=[[rows[:5], {"choreo_frames": 5}]])


def test_an_effect_schedule_acts_at_the_frames_of_the_clip(model):
    patching, parse = pack("nodes.host.patching"), pack("core.prompts.schedule").parse_values
    motion, boxes = make_motion(), tracked("4: 30, 20, 50, 40", "5: 30, 20, 50, 40")

    def made(keys):
        options = patching.MotionOptions(effect_keys=parse(keys), beta_schedule="unchanged")
        return refine(patching.apply_motion_module(model, motion, options), clip(), boxes)[0]

    late = made("0:0, 3:0, 4:1, 5:1")
    assert torch.equal(late, made("0:1")) and not torch.equal(late, made("0:0"))
    with pytest.raises(ValueError, match="effect_schedule: key 6 is past the last frame of the clip, 5"):
        made("0:1, 6:0")


def test_the_highest_seed_and_several_faces(model):
    images, tracks = clip(), tracked("10, 20, 30, 40", "60, 20, 80, 40")
    made = refine(model, images, tracks, seed=2**64 - 1, sampler_name="euler_ancestral")[0]
    assert not torch.equal(made[:, :, 48:], images[:, :, 48:])


def test_subject_mask_takes_faces_of_pictures_of_its_size_alone(comfy_host):
    faces = pack("core.refine.detect").detect_faces(clip()[:, :48])
    with pytest.raises(ValueError, match="The faces are of pictures of 96x48, these are 96x64"):
        call(pack("nodes.subject").SubjectMask, clip(), "", 2.5, faces)


def test_what_faces_cannot_take_is_said(model):
    with pytest.raises(ValueError, match="face tracks were made from 6 frames of 96x64"):
        refine(model, clip(4), tracked("30, 20, 50, 40"))
    for key, what in (
        ("control", "a ControlNet"),
        ("mask", "a mask"),
        ("area", "an area"),
        ("concat_latent_image", "a picture to inpaint or edit"),
    ):
        wrong = [[make_cond(11)[0][0], {key: object()}]]
        with pytest.raises(ValueError, match=f"carries {what} for the whole frame"):
            refine(model, clip(), tracked("30, 20, 50, 40"), positive=wrong)


def test_keyframes_of_whole_frames_are_refused(model):
    keyframes = pack("core.keyframes")
    one = keyframes.Keyframes((keyframes.Keyframe(clip(1)[0], 0),))
    fusion, feedback = pack("core.fusion.stream").Fusion(), pack("nodes.host.feedback")
    vae = Vae()
    vae.spacial_compression_encode = lambda: 8

    def fed(keyframes):
        fuse, when = feedback.ClipFuser(fusion, keyframes), feedback.FeedbackOptions((0.5,))
        return feedback.apply_feedback(model, vae, fuse, when)

    check = pack("nodes.host.refine").check_whole_frame
    guidance = pack("core.keyframe_guidance").Guidance()
    guided = pack("nodes.host.keyframes").apply_guidance(model, vae, one, guidance)
    for wrong, name in ((guided, "'Keyframe Guidance'"), (fed(one), "'Fusion Feedback' with keyframes")):
        with pytest.raises(ValueError, match=f"carries {name}.*use the model from before that node"):
            refine(wrong, clip(), tracked("30, 20, 50, 40"))
    check(fed(None))


def test_what_the_model_cannot_sample_is_said_before_any_work(model, moving, monkeypatch):
    monkeypatch.setattr(pack("nodes.host.refine"), "cut", None)  # nothing is cut out
    for kind in (moving, model):
        with pytest.raises(ValueError, match="The prompt schedule has 5 frames"):
            refine(kind, clip(), tracked("30, 20, 50, 40"), positive=make_scheduled(5))
    short = pack("nodes.host.patching").apply_motion_module(model, make_motion(max_frames=4))
    with pytest.raises(ValueError, match="has 6 frames, this motion module .* at most 4"):
        refine(short, clip(), tracked("30, 20, 50, 40"))


def make_scheduled(frames):
    """A prompt with a row for each of so many frames."""
    return [[make_cond(30, frames)[0][0], {"choreo_frames": frames}]]


def test_cutting_and_pasting_show_progress_and_can_be_cancelled(model, monkeypatch):
    import comfy.model_management as management

    images, tracks = clip(), tracked("30, 20, 50, 40")
    crops, region = call(pack("nodes.regions").CropVideoRegion, images, tracks, 0, "static", 1.5, 0, 100.0)
    nodes = pack("nodes.regions")
    for work in (
        lambda: call(nodes.CropVideoRegion, images, tracks, 0, "static", 1.5, 0, 100.0),
        lambda: call(nodes.PasteVideoRegion, images, crops, region, 4.0, 0.0),
    ):
        management.interrupt_current_processing()
        with pytest.raises(management.InterruptProcessingException):
            work()
    host, reports = pack("nodes.host.refine"), []
    for name in ("cut", "paste"):
        true = getattr(host, name)
        monkeypatch.setattr(host, name, lambda *a, true=true: reports.append(callable(a[-1])) or true(*a))
    refine(model, images, tracks)
    assert reports == [True, True]


def test_tracks_come_from_one_source(comfy_host):
    track, images = pack("nodes.faces").TrackFaces, clip()
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[0, 10:30, 20:50] = 1
    tracks, count = call(track, images, 8, 3, 3.0, True, "all", mask=mask)
    assert count == 1 and np.allclose(tracks.tracks[0].boxes, [20, 10, 50, 30])
    assert call(track, images, 8, 3, 3.0, True, "all")[1] == 0, "no face in noise"
    faces, most = call(pack("nodes.faces").DetectFaces, images[:4], 0.6, 320)
    assert most == 0
    for message, more in {
        "takes one of boxes, faces and mask, got boxes and mask": {"boxes": "1, 2, 9, 9", "mask": mask},
        "The mask is .1, 64, 90.": {"mask": mask[..., :90]},
        "faces are of 4 frames": {"faces": faces},
        "'7' is not a track's number": {"mask": mask, "choose": "7"},
    }.items():
        choose = more.pop("choose", "all")
        with pytest.raises(ValueError, match=message):
            call(track, images, 8, 3, 3.0, True, choose, **more)
    (drawn,) = call(pack("nodes.faces").PreviewTracks, images, tracks)
    assert drawn.shape == images.shape and not torch.equal(drawn, images)


def test_crop_and_paste_nodes_are_exact_where_nothing_changes(comfy_host):
    nodes, images = pack("nodes.regions"), clip()
    tracks = tracked("1: 30, 20, 50, 40", "2: 36, 22, 56, 42")
    crops, region = call(nodes.CropVideoRegion, images, tracks, 0, "static", 1.5, 0, 100.0)
    assert len(crops) == 2 and crops.shape[1] % 8 == crops.shape[2] % 8 == 0
    assert torch.equal(call(nodes.PasteVideoRegion, images, crops, region, 4.0, 0.0)[0], images)
    (made,) = call(nodes.PasteVideoRegion, images, 1 - crops, region, 4.0, 0.0)
    assert torch.equal(made[[0, 3, 4, 5]], images[[0, 3, 4, 5]]) and not torch.equal(made[1], images[1])
    with pytest.raises(ValueError, match="'3' is not a track's number"):
        call(nodes.CropVideoRegion, images, tracks, 3, "static", 1.5, 0, 100.0)


def test_crops_and_masks_that_do_not_fit_are_said_before_colours_are_matched(comfy_host, monkeypatch):
    nodes, images = pack("nodes.regions"), clip()
    tracks = tracked("1: 30, 20, 50, 40", "2: 36, 22, 56, 42")
    crops, region = call(nodes.CropVideoRegion, images, tracks, 0, "static", 1.5, 0, 100.0)
    monkeypatch.setattr(nodes, "cut", None)  # nothing is cut out
    larger, fewer = crops.repeat(1, 2, 2, 1), crops[:1]
    for wrong in (larger, fewer, torch.cat([crops, crops[..., :1]], -1)):
        with pytest.raises(ValueError, match="The crops are .*, this region's are"):
            call(nodes.PasteVideoRegion, images, wrong, region, 4.0, 1.0)
    with pytest.raises(ValueError, match="The mask is .*, the images need"):
        call(nodes.PasteVideoRegion, images, crops, region, 4.0, 1.0, torch.ones(1, 8, 8))
