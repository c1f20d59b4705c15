"""`dev.py measure identity`: does an identity learnt from five pictures show in clips, and what makes it so?

A face of the sprite world is the identity: its colour, eyes, mouth and mark. Five pictures of it, each on
another ground, with their exact masks, are learnt as ID tokens; then clips are sampled for the same prompts
and seeds in several ways, and judged by `core.metrics.identity` (0 = the same sprite), on the sprite found in
each frame. Lower distance is better. Further columns follow VCD's Table 2: text (the direction asked for
appears), frame-to-frame similarity of the sprite (1 - distance), and motion, in pixels a frame.
"""

import time

import numpy as np

from .measure import Demo, write_rows

NUMBER, COLOUR, PICTURES = 7, "purple", 5
GAMMA = 0.15
SUBJECTS = {"no ID": "a face", "in words": f"a {COLOUR} face"}  # of prompts without ID tokens
WAYS = {  # name -> (settings of the training or None, gamma)
    "no ID": (None, GAMMA),
    "in words": (None, GAMMA),
    "ID tokens": ({}, GAMMA),
    "single token": ({"start": "#42170"}, GAMMA),
    "unmasked": ({"masked": False}, GAMMA),
    "no prior": ({}, 0.0),
}


def subject_of(way):
    """What prompts call the subject in one of the ways."""
    return SUBJECTS.get(way, "a embedding:me face")


def identity_pictures(count=PICTURES, seed=5):
    """Images (N, H, W, 3) in 0..1 and masks (N, H, W) float of one face, each on another ground."""
    from choreographer.core.data.render import render
    from choreographer.core.data.scene import sample_scene
    from choreographer.core.data.shapes import GROUNDS

    rng, images, masks = np.random.default_rng(seed), [], []
    for number in range(count):
        ground = list(GROUNDS)[number % len(GROUNDS)]
        words = {"shape": "face", "colour": COLOUR, "identity": NUMBER, "ground": ground}
        clip = render(sample_scene(rng, 1, 1, "", motion="standing still", **words))
        images.append(clip.images[0])
        masks.append(clip.masks[0, 0])
    return np.stack(images), np.stack(masks).astype(np.float32)


def train(demo, plain, options, **changes):
    """ID tokens of the pictures, as the node learns them; (IdTokens, seconds)."""
    import torch
    from choreographer.nodes.host.identity_training import IdSettings, train_id_tokens

    images, masks = (torch.from_numpy(part) for part in identity_pictures())
    settings = IdSettings(
        name="me", prompt="a [id] [class]", class_word="face", size=128, flip=False,
        steps=options.train_steps, learning_rate=options.learning_rate, seed=options.seed, **changes,
    )  # fmt: skip
    started = time.monotonic()
    with torch.inference_mode():
        tokens, _ = train_id_tokens(plain, demo.clip, demo.vae, images, masks, settings)
    return tokens, time.monotonic() - started


def judge(images, way, references):
    """Figures of one clip (F, H, W, 3)."""
    from choreographer.core.data.measure import look, sprite_mask
    from choreographer.core.metrics.identity import identity_distance, patch_distance, sprite_patch

    masks = np.stack([sprite_mask(image) for image in images])
    patches = [sprite_patch(image, mask) for image, mask in zip(images, masks, strict=True)]
    pairs = [(a, b) for a, b in zip(patches, patches[1:], strict=False) if a is not None and b is not None]
    seen = look(images)
    steps = np.diff(seen.path[~np.isnan(seen.path[:, 0])], axis=0)
    return {
        "distance": identity_distance(images, masks, references),
        "text": float(seen.direction == way),
        "similarity": float(np.mean([1 - patch_distance(a, b) for a, b in pairs])) if pairs else 0.0,
        "motion": float(np.hypot(*steps.T).mean()) if len(steps) else 0.0,
    }


def measure_identity(options):
    """All ways on `count` prompts and seeds; means with 95 % intervals, and differences to "ID tokens"."""
    demo, plain = Demo(options.demo), Demo(options.demo, motion=False).model
    from choreographer.core.data.scene import DIRECTIONS
    from choreographer.core.data.shapes import GROUNDS
    from choreographer.core.identity.tokens import write_id_tokens
    from choreographer.core.metrics.identity import sprite_patch
    from choreographer.nodes.host.identity import apply_id_tokens

    references = [sprite_patch(image, mask > 0) for image, mask in zip(*identity_pictures(), strict=True)]
    rows, sheet, learnt, clip = [], [], {}, demo.clip
    for name, (changes, gamma) in WAYS.items():
        key = None if changes is None else tuple(sorted(changes.items()))
        if key is not None and key not in learnt:
            learnt[key], seconds = train(demo, plain, options, **changes)
            print(f"{name}: learnt in {seconds:.0f} s")
            if not changes and options.save_tokens:
                write_id_tokens(learnt[key], options.save_tokens)
        demo.clip = clip if key is None else apply_id_tokens(clip, learnt[key])
        subject = subject_of(name)
        for number in range(options.count):
            way, ground = list(DIRECTIONS)[number % 4], list(GROUNDS)[number % len(GROUNDS)]
            images = demo.clip_for(
                f"{subject} moving {way} on {ground}", options.seed * 1000 + number, gamma,
                steps=options.steps, cfg=options.cfg,
            )  # fmt: skip
            rows.append({"way": name, "number": number, **judge(images, way, references)})
            if number == 0:
                sheet.append(np.concatenate(list(images[::3]), 1))
        print_way(rows, name)
    write_rows(options.out, "identity", rows, sheet)


def print_way(rows, name):
    """One line of means and intervals, and the paired differences to "ID tokens"."""
    for column in ("distance", "text", "similarity", "motion"):
        own, main = (np.array([r[column] for r in rows if r["way"] == way]) for way in (name, "ID tokens"))
        half = 1.96 * own.std(ddof=1) / len(own) ** 0.5 if len(own) > 1 else float("nan")
        line = f"{name}: {column} {own.mean():.4f} +- {half:.4f}"
        if name != "ID tokens" and len(main) == len(own):
            gap = own - main
            half = 1.96 * gap.std(ddof=1) / len(gap) ** 0.5 if len(gap) > 1 else float("nan")
            line += f"   minus that of ID tokens {gap.mean():+.4f} +- {half:.4f}"
        print(line, flush=True)
