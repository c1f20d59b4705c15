"""Measure the demo family in a real ComfyUI: `python dev.py measure WHAT [options]`.

prompts: does the sprite that the prompt names appear, in its colour, and does it move the way the prompt
says? The others have modules of their own; claims of the papers are measured by `dev.py report`.

Figures go to stdout and to OUT/measure_*.json, contact sheets beside them.
"""

import argparse
import importlib
import json
import time
from pathlib import Path

import cv2
import numpy as np

from .pack import ROOT, import_host, register_pack

WHAT = ("prompts", "identity", "seams", "trajectories", "keyframes", "modes", "tuning", "atlas")


class Demo:
    """The demo checkpoint with its motion module, loaded as the stock nodes load it."""

    def __init__(self, folder=ROOT / "demo", motion=True):
        register_pack()
        import_host()
        import comfy.sd
        import comfy.utils
        from choreographer.nodes.host import demo_family, patching
        from choreographer.nodes.host.files import load_motion_file

        demo_family.register()
        checkpoint = folder / "checkpoints" / "choreographer_demo.safetensors"
        plain, self.clip, self.vae, _ = comfy.sd.load_checkpoint_guess_config(str(checkpoint))
        module = folder / "animatediff_models" / "choreographer_demo_motion.safetensors"
        self.model = patching.apply_motion_module(plain, load_motion_file(str(module))) if motion else plain

    def clip_for(self, prompt, seed, gamma=0.0, frames=16, steps=20, cfg=3.5, size=128):
        """(F, H, W, 3) in 0..1 for a prompt and an empty negative prompt."""
        settings = {"gamma": gamma, "frames": frames, "steps": steps, "cfg": cfg, "size": size}
        return self.sampled(self.model, self.encoded(prompt), seed, **settings)

    def encoded(self, prompt):
        """A prompt and the empty negative prompt as conditioning."""
        return [self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text)) for text in (prompt, "")]

    def sampled(self, model, texts, seed, *, gamma, frames, steps, cfg, size=128):
        """(F, H, W, 3) in 0..1 by a model and (positive, negative): euler, normal schedule."""
        import comfy.sample
        import torch
        from choreographer.nodes.host.noise import prior_noise

        latent = torch.zeros(frames, 4, size // 8, size // 8)
        noise = prior_noise(seed, gamma).generate_noise({"samples": latent})
        with torch.inference_mode():
            made = comfy.sample.sample(
                model, noise, steps, cfg, "euler", "normal", *texts, latent, seed=seed, disable_pbar=True
            )
            return self.vae.decode(made).float().clamp(0, 1).cpu().numpy()


def interval(right, total, z=1.96):
    """Wilson's 95 % interval of a share."""
    share, spread = right / total, z / (1 + z * z / total)
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = spread * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    return middle - half, middle + half


def measure_prompts(options):
    """`count` prompts, all shapes, colours, directions and grounds in turn.

    What was right, with intervals.
    """
    demo = Demo(options.demo)
    from choreographer.core.data.measure import look
    from choreographer.core.data.scene import DIRECTIONS, SHAPES, sample_scene
    from choreographer.core.data.shapes import HUES

    rng, rows, sheet, started = np.random.default_rng(options.seed), [], [], time.monotonic()
    for number in range(options.count):
        shape, colour = SHAPES[number % len(SHAPES)], list(HUES)[number % len(HUES)]
        way = list(DIRECTIONS)[number % 4]
        scene = sample_scene(
            rng, 16, sprites=1, camera="", shape=shape, colour=colour, motion=f"moving {way}"
        )
        images = demo.clip_for(
            scene.caption, options.seed * 1000 + number, options.gamma, steps=options.steps, cfg=options.cfg
        )
        seen = look(images)
        right = {
            "colour": seen.colour == colour,
            "shape": seen.shape == shape,
            "direction": seen.direction == way,
        }
        rows.append({"prompt": scene.caption, **right, "seen": [seen.colour, seen.shape, seen.direction]})
        sheet.append(np.concatenate(list(images[::5]), 1))
        print(
            f"\r{number + 1}/{options.count} {(time.monotonic() - started) / (number + 1):.1f} s a clip",
            end="",
            flush=True,
        )
    print()
    both = [row["colour"] and row["shape"] for row in rows]
    figures = {
        "colour and shape": both,
        **{k: [r[k] for r in rows] for k in ("colour", "shape", "direction")},
    }
    for name, right in figures.items():
        low, high = interval(sum(right), len(right))
        print(f"{name}: {sum(right)}/{len(right)} = {sum(right) / len(right):.3f}  [{low:.3f}, {high:.3f}]")
    for row in rows:
        if not (row["colour"] and row["shape"] and row["direction"]):
            print("  missed:", row["prompt"], "->", *row["seen"])
    write_rows(options.out, "prompts", rows, sheet)


def write_rows(folder, name, rows, sheet):
    """Write OUT/measure_NAME.json, and the pictures (H, W, 3) in 0..1 of `sheet`, if any, as one PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"measure_{name}.json").write_text(json.dumps(rows, indent=1))
    if not sheet:
        print(f"written: {folder / f'measure_{name}.json'}")
        return
    columns = [np.concatenate(sheet[i::2], 0) for i in range(2)] if len(sheet) > 1 else sheet
    height = min(column.shape[0] for column in columns)
    picture = np.concatenate([column[:height] for column in columns], 1)
    cv2.imwrite(str(folder / f"measure_{name}.png"), (picture[..., ::-1] * 255).astype(np.uint8))
    print(f"written: {folder / f'measure_{name}.json'}, .png")


def add_trajectory_options(parser):
    """Those of `measure trajectories` alone."""
    add = parser.add_argument_group("trajectories").add_argument
    add("--seeds", type=int, default=8, help="clips of each set")
    add("--sets", nargs="*", default=[], help="names of sets, or camera, object; all without")
    modes = ("none", "noise", "base", "lora", "guided", "wrong")
    add("--modes", nargs="*", choices=modes, default=modes, help="what to compare; all without")
    add("--trajectory-scale", type=float, default=1.5, help="of camera-free guidance")
    add("--flow-control", type=Path, help="flow net with LoRAs, instead of the demo's")
    add("--image-control", type=Path, help="image net, instead of the demo's (keyframes too)")


def main(arguments=None):
    """Run one measurement."""
    parser = argparse.ArgumentParser(prog="dev.py measure", description=__doc__)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--count", type=int, default=100, help="prompts, one seed each (seams: seeds)")
    parser.add_argument("--seed", type=int, default=7)
    told = "prompts, keyframes, seams: gamma of the noise prior (trajectories have their own)"
    parser.add_argument("--gamma", type=float, default=0.0, help=told)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--train-steps", type=int, default=200, help="identity, tuning")
    parser.add_argument("--fit-steps", type=int, default=600, help="atlas")
    parser.add_argument("--learning-rate", type=float, default=0.02, help="identity: of the ID tokens")
    parser.add_argument("--cfg", type=float, default=3.5)
    parser.add_argument("--tuning-rate", type=float, default=1e-3, help="tuning: learning rate")
    parser.add_argument("--uni-control", type=Path, help="modes: Uni-ControlNet file, instead of the demo's")
    parser.add_argument("--save-tokens", type=Path, help="identity: file to write the learnt ID tokens to")
    parser.add_argument(
        "--demo", type=Path, default=ROOT / "demo", help="folder with checkpoints/ and animatediff_models/"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "output" / "measure")
    add_trajectory_options(parser)
    options = parser.parse_args(arguments)
    if options.what == "prompts":
        return measure_prompts(options)
    module = importlib.import_module(f".measure_{options.what}", __package__)
    return getattr(module, f"measure_{options.what}")(options)


if __name__ == "__main__":
    main()
