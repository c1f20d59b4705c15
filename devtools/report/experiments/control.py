"""The investigation paper: the control modes, inversion of models that predict noise or v, tuning."""

from __future__ import annotations

from ..cache import frames_of
from ..context import CFG, CHECKPOINT, STEPS
from ..rows import Experiment, Made, Row

UNI = "controlnet/choreographer_demo_uni.safetensors"
STILL = {"checkpoint": CHECKPOINT}
MODES = {
    "M1": "per frame", "M2": "previous frame", "M3": "interpolated", "M4": "content and flow",
    "M3 along flow": "interpolated along flow", "M4 with maps": "maps, content and flow",
}  # fmt: skip
TUNED = {True: 40, False: 200}
RATE = 1e-3


def prepare_modes(context):
    """The image model and the net that steers it."""
    demo = context.still
    from choreographer.nodes.host.uni_control import load_uni_file

    return demo, load_uni_file(str(context.file(UNI)))


def measure_modes(ready, seed: int) -> Made:
    """A moving sprite remade frame by frame in every mode; half of the steps, each frame is a run."""
    import torch

    from ... import measure_modes as modes

    demo, net = ready
    from choreographer.core.control_modes.loop import Loop
    from choreographer.core.control_modes.maps import Edges
    from choreographer.nodes.host.previous_frame import FrameSampler, Guide, sample_frames
    from choreographer.nodes.host.sampling import SamplerSettings

    images, depth, caption, track = modes.source_of(seed)
    prompts = tuple(demo.clip.encode_from_tokens_scheduled(demo.clip.tokenize(t)) for t in (caption, ""))
    settings = SamplerSettings(seed, STEPS // 2, CFG, "euler", "normal")
    figures, strips = {}, {"source": frames_of(images)}
    with torch.inference_mode():
        for side, mode in MODES.items():
            sampler = FrameSampler(demo.model, demo.vae, prompts, Guide(uni=net), settings)
            made, _, _ = sample_frames(sampler, images, depth, Loop(mode, "shared"), Edges(), None)
            figures[side], strips[side] = modes.figures(made, images, track), frames_of(made)
    return Made(figures, strips)


def measure_inversion(context, seed: int) -> Made:
    """A clip inverted and sampled again, nothing trained: as noise, as v, and v taken for noise."""
    import torch

    from ... import measure_tuning as tuning

    demo = context.still
    images, _, _ = tuning.source_clip(seed)
    with torch.inference_mode():
        editor = tuning.Editor(demo, {"samples": demo.vae.encode(images)}, STEPS)
        found = tuning.round_trips(editor, demo.model, (0,), (0,))
    named = {"noise": "noise, refine 0", "v": "v, refine 0", "v taken for noise": "v taken for noise"}
    sides = {side: {"psnr": found[name]} for side, name in named.items()}
    return Made(sides)


def prepare_tuning(context):
    """The image model, and for how long it is tuned."""
    return context.still, TUNED[context.quick]


def measure_tuning(ready, seed: int) -> Made:
    """A clip edited in colour, in shape and in ground, by the model tuned on it and by the plain one."""
    import numpy as np
    import torch

    from ... import measure_tuning as tuning

    demo, steps = ready
    from choreographer.nodes.host.tuning import TuningOptions, apply_tuning
    from choreographer.nodes.host.tuning_training import TuneSettings, tune_on_clip

    images, caption, track = tuning.source_clip(seed)
    figures, strips, edits = {}, {"source": frames_of(images)}, tuning.edits_of(seed)
    with torch.inference_mode():
        latent = {"samples": demo.vae.encode(images)}
        learnt, _ = tune_on_clip(demo.model, demo.clip, latent, caption, TuneSettings(steps, RATE, seed))
        tuned = apply_tuning(demo.model, learnt, TuningOptions())
        editor = tuning.Editor(demo, latent, STEPS)
        for side, model in (("plain", demo.model), ("tuned", tuned)):
            noise, found = editor.inverted(model, 1), {}
            for edit, words in edits.items():
                _, made = editor.sampled(model, noise, words, CFG)
                found[edit] = tuning.seen_in(made, words, track)
                strips[f"{side}, {edit}"] = frames_of(made)
            figures[side] = {name: float(np.nanmean([one[name] for one in found.values()]))
                             for name in ("track", "motion", "follows", "change")}  # fmt: skip
            for edit, one in found.items():
                figures[side] |= {f"{name} of {edit}": one[name] for name in ("track", "motion")}
    return Made(figures, strips)


def _same(context):
    return context


EXPERIMENTS = (
    Experiment("control_modes", "1", {**STILL, "Uni-ControlNet": UNI}, (6, 32), 30, prepare_modes,
               measure_modes, lambda quick: {"modes": MODES}),
    Experiment("inversion", "1", STILL, (6, 16), 30, _same, measure_inversion),
    Experiment("tuning", "2", STILL, (6, 12), 85, prepare_tuning, measure_tuning,
               lambda quick: {"tuned": TUNED[quick], "rate": RATE}),
)  # fmt: skip

_MODES = "sprite clips of 6 frames remade frame by frame with Uni-ControlNet on true depth and edges"
_TUNING = (
    "sprite clips of 8 frames, tuned on, inverted, and sampled with another colour, shape or ground in the "
    "prompt; means of the three edits"
)
ROWS = (
    Row("modes_m2", "Investigation", "Maps of the previous frame (M2) freeze the motion that M1 keeps",
        f"{_MODES}; travel of the sprite in parts of the source's", "described", "control_modes", "travel",
        "M2", "M1", -1),
    Row("modes_m3", "Investigation", "Interpolated maps (M3) move more than M2",
        f"{_MODES}; as above", "described", "control_modes", "travel", "M3", "M2", 1),
    Row("modes_m1", "Investigation", "M1 follows the source's track better than M2",
        f"{_MODES}; distance to the track", "described", "control_modes", "track_px", "M1", "M2", -1, "px"),
    Row("modes_m4", "Investigation", "Content and flow (M4) are steadier than M1",
        f"{_MODES}; warped difference along the source's flow", "described", "control_modes",
        "warped_difference", "M4", "M1", -1, "0..255"),
    Row("modes_moved", "Investigation", "Maps interpolated along the flow are steadier than M3's",
        f"{_MODES}; warped difference along the source's flow", "not of the paper", "control_modes",
        "warped_difference", "M3 along flow", "M3", -1, "0..255"),
    Row("modes_moved_travel", "Investigation", "at equal motion",
        f"{_MODES}; travel in parts of the source's", "not of the paper", "control_modes", "travel",
        "M3 along flow", "M3", 0),
    Row("modes_guided", "Investigation", "M4 with maps too is steadier than M4",
        f"{_MODES}; warped difference along the source's flow", "not of the paper", "control_modes",
        "warped_difference", "M4 with maps", "M4", -1, "0..255"),
    Row("modes_guided_travel", "Investigation", "at equal motion",
        f"{_MODES}; travel in parts of the source's", "not of the paper", "control_modes", "travel",
        "M4 with maps", "M4", 0),
    Row("modes_guided_first", "Investigation", "and steadier than M1",
        f"{_MODES}; warped difference along the source's flow", "not of the paper", "control_modes",
        "warped_difference", "M4 with maps", "M1", -1, "0..255"),
    Row("inversion_v", "Investigation", "A v model inverted as if it predicted noise loses the clip (SD2.1)",
        "sprite clips inverted and sampled again, guidance 1, the same weights as a noise and as a v model; "
        "PSNR of latents, each by its own type against v taken for noise", "blurred results with SD2.1",
        "inversion", "psnr", "v", "v taken for noise", 1, "dB"),
    Row("inversion_equal", "Investigation", "Inverted by its own type, v does as well as noise",
        "the same", "not reported", "inversion", "psnr", "v", "noise", 0, "dB"),
    Row("tuning_motion", "Investigation", "Tuning on one clip keeps its motion in edits",
        f"{_TUNING}; distance of the sprite to the source's track, mean places aligned", "described",
        "tuning", "motion", "tuned", "plain", -1, "px"),
    Row("tuning_track", "Investigation", "and its place",
        f"{_TUNING}; distance of the sprite to the source's track", "described", "tuning", "track", "tuned",
        "plain", -1, "px"),
    Row("tuning_change", "Investigation", "Tuning makes the edit's frames agree",
        f"{_TUNING}; mean change from frame to frame", "described", "tuning", "change", "tuned", "plain", -1,
        "0..255"),
    Row("tuning_follows", "Investigation", "The edit follows the prompt",
        f"{_TUNING}; share in which colour, shape and ground are those of the prompt", "described", "tuning",
        "follows", "tuned", "plain", 0),
    Row("tuning_recoloured", "Investigation", "and keeps the motion, edits of colour alone",
        _TUNING.replace("means of the three edits", "the edit in colour"), "not reported", "tuning",
        "motion of colour", "tuned", "plain", 0, "px"),
)  # fmt: skip
