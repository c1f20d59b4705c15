"""CCDM: fusion of the clip while it is sampled (Table 1), Eq. 13 (Table 2), noise and schedule (Table 3)."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from ...pack import register_pack
from ..cache import frames_of
from ..context import BASE, CFG, STEPS
from ..rows import Experiment, Made, Row

PERCENTS, WINDOW = (0.5, 0.8), 2  # the defaults of Fusion Feedback
TRAINED, CLIPS = {True: 30, False: 200}, {True: 8, False: 32}  # steps and clips, quick and in full
FRAMES, RATE = 8, 1e-3
TERMS = {"lambda1": 0.1, "lambda2": 0.1, "window": 2, "keyframes": (0,)}
LEAST = 1e-3  # of the data's movement: what stands quite still counts as ten octaves off
LEVELS = (0.5, 0.2)  # shares of signal at which a clip is guessed in one step


def scene_of(seed: int):
    """The scene of a seed: the sprite world with one sprite."""
    register_pack()
    import numpy as np
    from choreographer.core.data.scene import sample_scene

    return sample_scene(np.random.default_rng(seed), 16, sprites=1)


def caption_of(seed: int) -> str:
    """The prompt of a seed: what its scene shows."""
    return scene_of(seed).caption


def prepare_feedback(context):
    """The demo, and the demo with feedback."""
    demo = context.demo
    from choreographer.core.fusion.stream import Fusion
    from choreographer.nodes.host.feedback import ClipFuser, FeedbackOptions, apply_feedback

    fuser = ClipFuser(Fusion(window=WINDOW, split=False))
    model = apply_feedback(demo.model, demo.vae, fuser, FeedbackOptions(PERCENTS))
    return context, demo, context.changed(demo, model=model)


def measure_feedback(ready, seed: int) -> Made:
    """One prompt without fusion, fused while it is sampled, and fused afterwards; beside the scene itself."""
    import torch
    from choreographer.core.data.render import render_images
    from choreographer.core.fusion.stream import Fusion, fuse_clip

    context, demo, fed = ready
    prompt, told = caption_of(seed), {"steps": STEPS, "cfg": CFG}
    clips = {"plain": demo.clip_for(prompt, seed, **told), "feedback": fed.clip_for(prompt, seed, **told)}
    clips["fused after"] = fuse_clip(torch.from_numpy(clips["plain"]), Fusion(window=WINDOW)).numpy()
    clips["scene"] = render_images(scene_of(seed)).astype("float32")
    figures = {side: context.figures(images) for side, images in clips.items()}
    for row in figures.values():
        row["flow_off"] = abs(row["flow_mean"] - figures["scene"]["flow_mean"])
    return Made(figures, {side: frames_of(images) for side, images in clips.items()})


def prepare_training(context):
    """The demo's parts, and whether the run is a quick one."""
    from ..family import Parts

    return Parts(context), context.quick


def _plan(folder, steps: int, seed: int):
    from choreographer.core.training.loop import Plan

    return Plan(steps, Path(folder), RATE, warmup=5, seed=seed, average=0.0)


def measure_objective(ready, seed: int) -> Made:
    """The motion module trained on with and without the terms of Eq. 13; clips guessed from noise."""
    from choreographer.core.training.diffusion import Batch, train_motion

    parts, quick = ready
    train, held = parts.clips(CLIPS[quick], FRAMES, 2 * seed), parts.clips(2, FRAMES, 2 * seed + 1)
    figures = {}
    for side, terms in (("noise loss", {}), ("Eq. 13", TERMS)):
        family = parts.family(seed)
        with tempfile.TemporaryDirectory() as folder:
            batch = Batch(clips=1, frames=FRAMES)
            weights = train_motion(
                family, train, _plan(folder, TRAINED[quick], seed), batch, lambda *_: None, **terms
            )
        family.load(weights)
        figures[side] = guessed(parts, family, held, seed)
    return Made(figures)


def guessed(parts, family, held, seed: int) -> dict[str, float]:
    """PSNR and SSIM of clips guessed in one step from noise: all frames, and the keyframe alone."""
    import torch
    from choreographer.core.metrics.quality import psnr, ssim
    from choreographer.core.schedules import alphas_cumprod

    generator, kept = torch.Generator().manual_seed(seed), alphas_cumprod("linear").float()
    rows = {"psnr": [], "ssim": [], "psnr_key": [], "ssim_key": []}
    for clip, caption in zip(held.clips, held.clip_captions, strict=True):
        truth = torch.from_numpy(parts.decode(clip))
        for level in LEVELS:
            step = int((kept - level).abs().argmin())
            noise = torch.randn(clip.shape, generator=generator)
            noisy = kept[step].sqrt() * clip + (1 - kept[step]).sqrt() * noise
            with torch.inference_mode():
                told = torch.full((1,), step, device=parts.device)
                answer = family.predict(noisy.to(parts.device), told, [caption], len(clip)).cpu()
            clean = (noisy - (1 - kept[step]).sqrt() * answer) / kept[step].sqrt()
            made = torch.from_numpy(parts.decode(clean))
            for name, found in (("psnr", psnr(made, truth)), ("ssim", ssim(made, truth))):
                rows[name].append(float(found.mean()))
                rows[f"{name}_key"].append(float(found[0]))
    return {name: sum(values) / len(values) for name, values in rows.items()}


def measure_schedules(ready, seed: int) -> Made:
    """A fresh motion module trained under each of A, B and C on the same frozen base and clips."""
    import torch
    from choreographer.core.training import ablation
    from choreographer.core.training.diffusion import Batch

    parts, quick = ready
    train, held = parts.clips(CLIPS[quick], FRAMES, 2 * seed), parts.clips(4, FRAMES, 2 * seed + 1)
    figures, strips = {}, {}
    for side, configuration in ablation.CONFIGURATIONS.items():
        family = parts.family(seed, motion=False)
        with tempfile.TemporaryDirectory() as folder:
            batch = Batch(clips=1, frames=FRAMES)
            plan = _plan(folder, TRAINED[quick], seed)
            ablation.train_configuration(family, train, configuration, plan, batch, lambda *_: None)
        generator = torch.Generator().manual_seed(seed)
        truth, texts = held.draw_clips(1, FRAMES, generator)
        noise = configuration.noise(truth.shape, generator)
        made = ablation.sample_clips(family, configuration, noise, texts).cpu()
        movement = float(made.diff(dim=1).abs().mean() / truth.diff(dim=1).abs().mean())
        figures[side] = {
            "held_out": ablation.held_out_loss(family, held, configuration, FRAMES, seed),
            "movement_off": abs(math.log2(max(movement, LEAST))),
            "contrast_off": abs(math.log2(float(made.std() / truth.std()))),
        }
        strips[side] = frames_of(parts.decode(made[0]))
    return Made(figures, strips)


def _training(quick: bool) -> dict:
    return {"trained": TRAINED[quick], "clips": CLIPS[quick], "frames": FRAMES, "rate": RATE}


EXPERIMENTS = (
    Experiment(
        "ccdm_feedback", "2", BASE, (6, 32), 45, prepare_feedback, measure_feedback,
        lambda quick: {"percents": PERCENTS, "window": WINDOW},
    ),
    Experiment(
        "ccdm_objective", "1", BASE, (6, 10), 45, prepare_training, measure_objective,
        lambda quick: {**_training(quick), "terms": TERMS, "levels": LEVELS},
    ),
    Experiment("ccdm_schedules", "1", BASE, (6, 8), 85, prepare_training, measure_schedules, _training),
)  # fmt: skip

_TABLE1 = "the same prompts and seeds with and without Fusion Feedback (at 0.5 and 0.8, window 2)"
_TABLE2 = (
    "the demo's motion module trained on with lambda1 = lambda2 = 0.1, keyframe 0, and without; held-out "
    "clips guessed from noise in one step, against their own frames"
)
_TABLE3 = (
    "a fresh motion module for as many steps on the same base and clips; A: SD's schedule, a seed a frame"
)
ROWS = (
    Row("ccdm1_total", "CCDM", "Table 1: fusion lowers the total flow rating", f"{_TABLE1}; Farneback flow",
        "lower than without", "ccdm_feedback", "flow_total", "feedback", "plain", -1, "px"),
    Row("ccdm1_mean", "CCDM", "Table 1: fusion lowers the mean flow rating", f"{_TABLE1}; Farneback flow",
        "lower than without", "ccdm_feedback", "flow_mean", "feedback", "plain", -1, "px a frame"),
    Row("ccdm1_above", "CCDM", "Table 1: it lies above the ground truth's, so lower is nearer",
        f"{_TABLE1}; mean Farneback flow, beside that of the rendered scenes", "above the ground truth's",
        "ccdm_feedback", "flow_mean", "feedback", "scene", 1, "px a frame"),
    Row("ccdm1_truth", "CCDM", "Fusion brings each clip's flow rating nearer to that of its own scene",
        f"{_TABLE1}; distance of mean Farneback flow from the rendered scene's", "not reported",
        "ccdm_feedback", "flow_off", "feedback", "plain", -1, "px a frame"),
    Row("ccdm1_steady", "CCDM", "Fusion makes clips steadier", f"{_TABLE1}; warped difference",
        "not reported", "ccdm_feedback", "warped", "feedback", "plain", -1, "0..255"),
    Row("ccdm1_sharp", "CCDM", "What it costs in sharpness: a lower rating may be ghosting",
        f"{_TABLE1}; variance of the Laplacian", "not reported", "ccdm_feedback", "sharpness", "feedback",
        "plain", 0),
    Row("ccdm1_after", "CCDM", "Fusion while sampling keeps more detail than fusion afterwards",
        f"{_TABLE1}, and the finished clip fused; variance of the Laplacian", "not reported",
        "ccdm_feedback", "sharpness", "feedback", "fused after", 1),
    Row("ccdm2_ssim", "CCDM", "Table 2: Eq. 13 raises SSIM to the still image", f"{_TABLE2}; keyframe",
        "higher with it", "ccdm_objective", "ssim_key", "Eq. 13", "noise loss", 1),
    Row("ccdm2_psnr", "CCDM", "Table 2: Eq. 13 raises PSNR to the still image", f"{_TABLE2}; keyframe",
        "higher with it", "ccdm_objective", "psnr_key", "Eq. 13", "noise loss", 1, "dB"),
    Row("ccdm2_all", "CCDM", "The same over all frames of the clip", f"{_TABLE2}; all frames",
        "not reported", "ccdm_objective", "psnr", "Eq. 13", "noise loss", 0, "dB"),
    Row("ccdm3_motion_a", "CCDM", "Table 3: the linear schedule (C) moves more like the data than A",
        f"{_TABLE3}; distance of sampled latents' movement from the data's", "C best", "ccdm_schedules",
        "movement_off", "C", "A", -1, "octaves"),
    Row("ccdm3_motion_b", "CCDM", "Table 3: C moves more like the data than B, one noise for all frames",
        f"{_TABLE3}; as above", "C best", "ccdm_schedules", "movement_off", "C", "B", -1, "octaves"),
    Row("ccdm3_contrast", "CCDM", "Table 3: C is nearer to the data's contrast than A",
        f"{_TABLE3}; distance of sampled latents' deviation from the data's", "C best", "ccdm_schedules",
        "contrast_off", "C", "A", -1, "octaves"),
    Row("ccdm3_loss", "CCDM", "Error of predicted noise on held-out clips, C against A",
        f"{_TABLE3}; five noise levels", "not reported", "ccdm_schedules", "held_out", "C", "A", 0),
)  # fmt: skip
