"""VCD: the noise prior (Table 1, Fig. 4), prior and masks (Table 2), faces and tiles refined (Fig. 6)."""

from __future__ import annotations

from ...pack import register_pack
from ..cache import frames_of
from ..context import BASE, CFG, STEPS
from ..rows import Experiment, Made, Row
from .ccdm import caption_of

GAMMAS = (0.0, 0.1, 0.2, 0.4)
LEARNT, RATE = 200, 0.02  # training of ID tokens: steps, learning rate
WAYS = ("no ID", "in words", "ID tokens", "single token", "unmasked", "no prior")
SMALL, TINY = 128, 10.0  # pixels of the frame, of a small face's radius
BLUR, FACE_DENOISE, TILE_DENOISE = 4, 0.4, 0.2
PASS_STEPS, TILE_FRAMES = 4, 4  # of a second pass: the host runs all of them at the last part of the noise


def similarity(images) -> float:
    """How alike the sprite is in neighbouring frames, 1 = the same; NaN where it is not found."""
    import numpy as np
    from choreographer.core.data.measure import sprite_mask
    from choreographer.core.metrics.identity import patch_distance, sprite_patch

    patches = [sprite_patch(image, sprite_mask(image)) for image in images]
    pairs = [(a, b) for a, b in zip(patches, patches[1:], strict=False) if a is not None and b is not None]
    return float(np.mean([1 - patch_distance(a, b) for a, b in pairs])) if pairs else float("nan")


def measure_gamma(context, seed: int) -> Made:
    """One prompt and seed at every gamma."""
    demo, prompt, figures, strips = context.demo, caption_of(seed), {}, {}
    for gamma in GAMMAS:
        images, side = demo.clip_for(prompt, seed, gamma, steps=STEPS, cfg=CFG), f"gamma {gamma:g}"
        figures[side] = {**context.figures(images), "similarity": similarity(images)}
        strips[side] = frames_of(images)
    return Made(figures, strips)


def prepare_identity(context):
    """The demo, and its text encoder with the ID tokens of each way; two trainings."""
    from ...measure_identity import WAYS as SETTINGS
    from ...measure_identity import identity_pictures, train

    demo, options = context.demo, context.options(seed=0, train_steps=LEARNT, learning_rate=RATE)
    from choreographer.core.metrics.identity import sprite_patch
    from choreographer.nodes.host.identity import apply_id_tokens

    learnt, ways = {}, {}
    for way in WAYS:
        changes, gamma = SETTINGS[way]
        key = None if changes is None else tuple(sorted(changes.items()))
        if key is not None and key not in learnt:
            learnt[key] = train(demo, context.still.model, options, **changes)[0]
        clip = demo.clip if key is None else apply_id_tokens(demo.clip, learnt[key])
        ways[way] = context.changed(demo, clip=clip), gamma
    references = [sprite_patch(image, mask > 0) for image, mask in zip(*identity_pictures(), strict=True)]
    return ways, references


def measure_identity(ready, seed: int) -> Made:
    """One direction and ground in every way."""
    from ...measure_identity import judge, subject_of

    register_pack()
    from choreographer.core.data.scene import DIRECTIONS
    from choreographer.core.data.shapes import GROUNDS

    (ways, references), figures, strips = ready, {}, {}
    direction, ground = list(DIRECTIONS)[seed % 4], list(GROUNDS)[seed % len(GROUNDS)]
    for way, (demo, gamma) in ways.items():
        prompt = f"{subject_of(way)} moving {direction} on {ground}"
        images = demo.clip_for(prompt, seed, gamma, steps=STEPS, cfg=CFG)
        figures[way], strips[way] = judge(images, direction, references), frames_of(images)
    return Made(figures, strips)


def measure_tiles(context, seed: int) -> Made:
    """A gradient refined in tiles that agree, in tiles one after another, and as a whole."""
    import torch

    from ... import measure_seams as tiles

    demo, settings = context.demo, _settings(seed, TILE_DENOISE)
    from choreographer.core.metrics.seams import seam_ratio
    from choreographer.core.refine.tiles import Tiling
    from choreographer.nodes.host.refine import Pass, refine_tiles
    from choreographer.nodes.host.tiles import TileOptions

    images = tiles.gradient(TILE_FRAMES)
    tiling = TileOptions(tiles.TILE // tiles.CELL, tiles.OVERLAP // tiles.CELL)
    side = tiles.SIDE // tiles.CELL
    places = Tiling(side, side, tiling.tile, tiling.overlap).tiles
    inner = sorted({edge * tiles.CELL for tile in places for edge in tile} - {0, tiles.SIDE})
    second = Pass(settings, 0.0, *_texts(demo, "", ""))
    with torch.inference_mode():
        made = {
            "in step": (refine_tiles(demo.model, demo.vae, images, second, tiling), inner),
            "independent": (tiles.independent(demo, second, images, tiles.TILE, tiles.PADDING), [tiles.TILE]),
        }
    figures = {name: {"seam": seam_ratio(clip, edges)} for name, (clip, edges) in made.items()}
    return Made(figures, {name: frames_of(clip, 3) for name, (clip, _) in made.items()})


def _settings(seed: int, denoise: float):
    from choreographer.nodes.host.sampling import SamplerSettings

    return SamplerSettings(seed, PASS_STEPS, CFG, "euler", "normal", denoise)


def _texts(demo, *texts: str) -> list:
    return [demo.clip.encode_from_tokens_scheduled(demo.clip.tokenize(text)) for text in texts]


def small_face(seed: int):
    """A clip with a small face: images and their blurred copy (F, H, W, 3), masks, boxes, caption."""
    register_pack()
    from dataclasses import replace

    import cv2
    import numpy as np
    from choreographer.core.data.render import render
    from choreographer.core.data.scene import sample_scene

    scene = sample_scene(np.random.default_rng(seed), 16, sprites=1, camera="", shape="face")
    (face,) = scene.sprites
    clip = render(replace(scene, sprites=(replace(face, radius=TINY),)), SMALL, SMALL)
    size = (SMALL // BLUR,) * 2
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in clip.images]
    blurred = np.stack([cv2.resize(image, (SMALL, SMALL), interpolation=cv2.INTER_CUBIC) for image in small])
    path = clip.tracks[0]
    boxes = np.concatenate((path - TINY, path + TINY, np.ones((16, 1))), 1).clip(0, SMALL)
    return clip.images, blurred.clip(0, 1).astype(np.float32), clip.masks[0], boxes, scene.caption


def measure_faces(context, seed: int) -> Made:
    """A blurred small face, before and after Refine Faces with its true boxes."""
    import torch

    demo = context.demo
    from choreographer.core.metrics.identity import identity_distance, sprite_patch
    from choreographer.core.metrics.sharpness import sharpness
    from choreographer.core.refine.detect import Detections
    from choreographer.core.refine.regions import CropPlan
    from choreographer.core.refine.tracks import Linking, link
    from choreographer.nodes.host.refine import FaceOptions, Pass, refine_faces

    truth, blurred, masks, boxes, caption = small_face(seed)
    tracks = link(Detections((SMALL, SMALL), tuple(box[None] for box in boxes)), Linking())
    second = Pass(_settings(seed, FACE_DENOISE), 0.15, *_texts(demo, caption, ""))
    options = FaceOptions(CropPlan(factor=2.0, guide=SMALL, most=SMALL, paste=1.5), feather=4.0)
    with torch.inference_mode():
        images = torch.from_numpy(blurred)
        after, _ = refine_faces(demo.model, demo.vae, images, tracks, second, options)
    references = [sprite_patch(truth[0], masks[0])]
    clips = {"blurred": blurred, "refined": after.numpy(), "truth": truth}
    figures = {
        side: {
            "sharpness": float(sharpness(torch.from_numpy(clip * masks[..., None])).mean()),
            "distance": identity_distance(clip, masks, references),
        }
        for side, clip in clips.items()
    }
    return Made(figures, {side: frames_of(clip) for side, clip in clips.items()})


def _same(context):
    return context


EXPERIMENTS = (
    Experiment("vcd_gamma", "1", BASE, (6, 32), 56, _same, measure_gamma, lambda quick: {"gammas": GAMMAS},
               curve=(tuple(f"gamma {g:g}" for g in GAMMAS), ("flow_mean", "warped", "similarity"))),
    Experiment("vcd_identity", "1", BASE, (6, 64), 75, prepare_identity, measure_identity,
               lambda quick: {"learnt": LEARNT, "rate": RATE, "ways": WAYS}, before=120),
    Experiment("vcd_tiles", "1", BASE, (6, 12), 20, _same, measure_tiles,
               lambda quick: {"denoise": TILE_DENOISE, "pass": PASS_STEPS, "frames": TILE_FRAMES}),
    Experiment("vcd_faces", "1", BASE, (6, 24), 9, _same, measure_faces,
               lambda quick: {"denoise": FACE_DENOISE, "pass": PASS_STEPS, "radius": TINY, "blur": BLUR}),
)  # fmt: skip

_GAMMA = "the same prompts and seeds at gamma 0, 0.1, 0.2 and 0.4"
_IDENTITY = (
    "ID tokens of a face learnt from five pictures with masks; the same prompts and seeds; sprites instead "
    "of people, so DINO and CLIP-I are the colour distance of sprites found in the clip"
)
_OURS = "0.564 / 0.755 / 0.277 / 0.745 / 0.820"
_NO_PRIOR, _NO_MASK = "0.555 / 0.712 / 0.222 / 0.688 / 0.800", "0.511 / 0.701 / 0.194 / 0.788 / 0.889"
_PRIOR = f"DINO, CLIP-I, CLIP-T and two consistencies {_OURS} with the prior, {_NO_PRIOR} without"
_MASK = f"{_OURS} with masks, {_NO_MASK} without"
ROWS = (
    Row("vcd_gamma_motion", "VCD", "Fig. 4: gamma up, less motion", f"{_GAMMA}; Farneback flow",
        "shown as pictures", "vcd_gamma", "flow_mean", "gamma 0.4", "gamma 0", -1, "px a frame"),
    Row("vcd_gamma_first", "VCD", "Fig. 4: in order, from 0 to 0.1", f"{_GAMMA}; Farneback flow",
        "shown as pictures", "vcd_gamma", "flow_mean", "gamma 0.1", "gamma 0", -1, "px a frame"),
    Row("vcd_gamma_half", "VCD", "Fig. 4: in order, from 0.1 to 0.2", f"{_GAMMA}; Farneback flow",
        "shown as pictures", "vcd_gamma", "flow_mean", "gamma 0.2", "gamma 0.1", -1, "px a frame"),
    Row("vcd_gamma_last", "VCD", "Fig. 4: in order, from 0.2 to 0.4", f"{_GAMMA}; Farneback flow",
        "shown as pictures", "vcd_gamma", "flow_mean", "gamma 0.4", "gamma 0.2", -1, "px a frame"),
    Row("vcd_gamma_steady", "VCD", "Fig. 4: gamma up, steadier", f"{_GAMMA}; warped difference",
        "shown as pictures", "vcd_gamma", "warped", "gamma 0.4", "gamma 0", -1, "0..255"),
    Row("vcd_gamma_same", "VCD", "Table 1: the prior keeps the subject the same from frame to frame",
        f"{_GAMMA}; likeness of the sprite in neighbouring frames", "consistency 0.800 without the prior, "
        "0.820 with it", "vcd_gamma", "similarity", "gamma 0.4", "gamma 0", 1),
    Row("vcd_gamma_features", "VCD", "Table 1: and the whole picture",
        f"{_GAMMA}; cosine of neighbouring frames' features by EfficientNet-Lite0, not CLIP",
        "as above", "vcd_gamma", "consistency", "gamma 0.4", "gamma 0", 1),
    Row("vcd_id", "VCD", "Table 1: ID tokens bring the identity",
        f"{_IDENTITY}; gamma 0.15; against the class word alone",
        "higher identity than the compared methods", "vcd_identity", "distance", "ID tokens", "no ID", -1),
    Row("vcd_words", "VCD", "What of it words can say", f"{_IDENTITY}; against the colour in the prompt",
        "not reported", "vcd_identity", "distance", "ID tokens", "in words", 0),
    Row("vcd_tokens", "VCD", "Several extended tokens hold more than one", f"{_IDENTITY}; four against one",
        "not reported", "vcd_identity", "distance", "ID tokens", "single token", -1),
    Row("vcd_prior_identity", "VCD", "Table 2: the prior improves identity", _IDENTITY, _PRIOR,
        "vcd_identity", "distance", "ID tokens", "no prior", -1),
    Row("vcd_prior_text", "VCD", "Table 2: the prior improves text alignment",
        f"{_IDENTITY}; the direction asked for appears", _PRIOR, "vcd_identity", "text", "ID tokens",
        "no prior", 1),
    Row("vcd_prior_same", "VCD", "Table 2: the prior improves consistency",
        f"{_IDENTITY}; likeness of the sprite in neighbouring frames", _PRIOR, "vcd_identity", "similarity",
        "ID tokens", "no prior", 1),
    Row("vcd_mask_identity", "VCD", "Table 2: masks improve identity", _IDENTITY, _MASK, "vcd_identity",
        "distance", "ID tokens", "unmasked", -1),
    Row("vcd_mask_text", "VCD", "Table 2: masks improve text alignment",
        f"{_IDENTITY}; the direction asked for appears", _MASK, "vcd_identity", "text", "ID tokens",
        "unmasked", 1),
    Row("vcd_mask_motion", "VCD", "Table 2: with masks there is more motion",
        f"{_IDENTITY}; travel of the sprite", "lower consistency with masks", "vcd_identity", "motion",
        "ID tokens", "unmasked", 1, "px a frame"),
    Row("vcd_face_sharp", "VCD", "Fig. 6: Face VCD sharpens small faces",
        "a sprite face of 10 px radius, blurred 4 times, refined at denoise 0.4; variance of the Laplacian",
        "shown as pictures", "vcd_faces", "sharpness", "refined", "blurred", 1),
    Row("vcd_face_identity", "VCD", "Fig. 6: and keeps who it is",
        "the same; colour distance to the unblurred face", "shown as pictures", "vcd_faces", "distance",
        "refined", "blurred", -1),
    Row("vcd_tile_seams", "VCD", "Fig. 6: Tiled VCD; here with tiles in step, fewer seams than one by one",
        "a flat gradient at 256x256, tiles of 128, denoise 0.2; step at tile edges over step elsewhere",
        "not reported", "vcd_tiles", "seam", "in step", "independent", -1),
)  # fmt: skip
