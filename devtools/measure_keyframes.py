"""`dev.py measure keyframes`: does a clip pass through its keyframes, and move between them as the truth?

`count` scenes of the sprite world, whose first and last image are given. Sides: the prompt alone ("free"),
drawn by Keyframe Guidance ("guided"), by the image ControlNet ("net"), by both. Figures of a clip: PSNR at
the keyframes; distance of its flow rating to the truth's; warped difference; sharpness; and the change next
to a keyframe over the median change of the frames between (1 = it lands smoothly).
"""

import numpy as np

from .measure import Demo, write_rows

IMAGE = "choreographer_demo_image.safetensors"
FRAMES = 16
ENDS = (0, -1)
GOAL = 28.0  # dB
FIGURES = ("keyframes", "worst keyframe", "all frames", "flow off", "warped", "sharpness", "landing")


def sides_of(demo, net):
    """Name -> what to make of (model, positive and negative, keyframes) before sampling."""
    from choreographer.core.keyframe_guidance import Guidance
    from choreographer.nodes.host.control import ControlOptions, VideoControl, apply_control
    from choreographer.nodes.host.hints import KeyframeHint
    from choreographer.nodes.host.keyframes import apply_guidance

    def guided(model, texts, keyframes):
        return apply_guidance(model, demo.vae, keyframes, Guidance()), texts

    def shown(model, texts, keyframes):
        hint = KeyframeHint(keyframes, net.model, demo.vae)
        return model, apply_control(texts, lambda: VideoControl(net, hint, ControlOptions()))

    sides = {"free": (), "guided": (guided,)}
    return sides if net is None else {**sides, "net": (shown,), "net and guided": (shown, guided)}


def sample(demo, side, prompt, keyframes, seed, options):
    """A clip (F, H, W, 3) in 0..1 of one side."""
    import torch

    model, texts = demo.model, demo.encoded(prompt)
    for change in side:
        model, texts = change(model, texts, keyframes)
    told = {"gamma": options.gamma, "frames": FRAMES, "steps": options.steps, "cfg": options.cfg}
    return torch.from_numpy(demo.sampled(model, texts, seed, **told))


def figures_of(made, truth):
    """The figures of one clip beside its truth, both (F, H, W, 3) in 0..1."""
    from choreographer.core.metrics.quality import psnr
    from choreographer.core.metrics.report import mean, measure

    found, wanted, likeness = measure(made), measure(truth), psnr(made, truth)
    ends = [float(likeness[end]) for end in ENDS]
    change = made.diff(dim=0).abs().mean((1, 2, 3))
    values = (
        float(np.mean(ends)), min(ends), float(likeness.mean()),
        abs(found.farneback.mean_px - wanted.farneback.mean_px), mean(found.warped_difference),
        mean(found.sharpness) / mean(wanted.sharpness), float((change[0] + change[-1]) / 2 / change.median()),
    )  # fmt: skip
    return dict(zip(FIGURES, values, strict=True))


def measure_keyframes(options):
    """All sides on `count` scenes."""
    demo = Demo(options.demo)
    import torch
    from choreographer.core.data.render import render_images
    from choreographer.core.data.scene import DIRECTIONS, sample_scene
    from choreographer.core.keyframes import Keyframe, Keyframes
    from choreographer.nodes.host.control import load_control_file

    file = options.image_control or options.demo / "controlnet" / IMAGE
    sides = sides_of(demo, load_control_file(str(file)) if file.is_file() else None)
    rng, rows, sheet = np.random.default_rng(options.seed), [], []
    for number in range(options.count):
        way = list(DIRECTIONS)[number % 4]
        scene = sample_scene(rng, FRAMES, sprites=1, camera="", motion=f"moving {way}")
        truth = torch.from_numpy(np.asarray(render_images(scene))).float()
        keyframes = Keyframes(tuple(Keyframe(truth[end], end) for end in ENDS))
        for name, side in sides.items():
            seed = options.seed * 1000 + number
            made = sample(demo, side, scene.caption, keyframes, seed, options)
            rows.append({"prompt": scene.caption, "side": name, **figures_of(made, truth)})
            if number < 3:
                sheet.append(np.concatenate(list(made[::3].numpy()), 1))
        print(f"\r{number + 1}/{options.count}", end="", flush=True)
    print("", *table(rows), sep="\n")
    write_rows(options.out, "keyframes", rows, sheet)


def _column(rows, side, name):
    return np.array([row[name] for row in rows if row["side"] == side])


def table(rows):
    """Means by side, as lines of Markdown."""
    sides = list(dict.fromkeys(row["side"] for row in rows))
    lines = [f"| | {' | '.join(FIGURES)} | keyframes over {GOAL:g} dB |", "|---" * (len(FIGURES) + 2) + "|"]
    for side in sides:
        means = " | ".join(f"{_column(rows, side, name).mean():.3f}" for name in FIGURES)
        over = (_column(rows, side, "keyframes") >= GOAL).mean()
        lines.append(f"| {side} | {means} | {over:.2f} |")
    return lines
