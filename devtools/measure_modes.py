"""`dev.py measure modes`: what several maps cost in one Uni-ControlNet, against a net for each.

And what the report measures of clips made frame by frame: how much of the source's motion is kept (the
sprite's travel in parts of the source's), how far it is from the source's track, and how steady the clip is:
the change between neighbouring frames after the source's motion is taken out.
"""

import time

import numpy as np

from .measure import ROOT, Demo, write_rows

FRAMES, SIDE = 6, 128
UNI = "controlnet/choreographer_demo_uni.safetensors"
COST_RUNS = 5
MAPS = ("canny", "midas", "hed")


def source_of(seed):
    """A moving sprite: images (F, H, W, 3), its depth map the same shape, caption, track (F, 2)."""
    import torch
    from choreographer.core.data.render import render
    from choreographer.core.data.scene import DIRECTIONS, sample_scene

    way = list(DIRECTIONS)[seed % 4]
    scene = sample_scene(np.random.default_rng(seed), 16, sprites=1, camera="", motion=f"moving {way}")
    clip = render(scene, SIDE, SIDE)
    part = np.linspace(0, 15, FRAMES).round().astype(int)
    depth = torch.from_numpy(clip.masks[0][part]).float()[..., None].expand(-1, -1, -1, 3)
    return torch.from_numpy(clip.images[part]).float(), depth, clip.caption, clip.tracks[0][part]


def figures(made, images, track):
    """Travel and distance of the sprite, and warped difference along the source's flow."""
    from choreographer.core.data.measure import look
    from choreographer.core.metrics.steadiness import warped_difference
    from choreographer.core.optical_flow import dis_flow

    path = look(made.numpy()).path
    travel = np.linalg.norm(path[-1] - path[0]) / np.linalg.norm(track[-1] - track[0])
    flows = dis_flow(images, backward=True), dis_flow(images)
    return {
        "travel": float(travel),
        "track_px": float(np.nanmean(np.linalg.norm(path - track, axis=1))),
        "warped_difference": float(np.nanmean(warped_difference(made, *flows).numpy())),
    }


def cost(net, model, prompts):
    """Seconds of a sampling run with three maps in one net, and with three nets for one map each."""
    import comfy.sample
    import torch
    from choreographer.nodes.host.control import ControlOptions
    from choreographer.nodes.host.uni_control import apply_uni_control

    maps = {kind: torch.rand(1, SIDE, SIDE, 3) for kind in MAPS}
    one, chained = apply_uni_control(prompts, net, maps, ControlOptions()), prompts
    for kind, picture in maps.items():
        chained = apply_uni_control(chained, net, {kind: picture}, ControlOptions())
    latent, found = torch.zeros(8, 4, SIDE // 8, SIDE // 8), {}
    for name, steered in (("without", prompts), ("one net", one), ("three nets", chained)):
        times = []
        for _ in range(COST_RUNS):
            started = time.monotonic()
            noise = torch.randn(latent.shape)
            comfy.sample.sample(
                model, noise, 4, 5.0, "euler", "normal", *steered, latent, disable_pbar=True
            )  # fmt: skip
            times.append(time.monotonic() - started)
        found[name] = float(np.median(times))
    return found


def measure_modes(options):
    """Several maps in one net, against a net for each, with the demo's Uni-ControlNet."""
    demo = Demo(options.demo, motion=False)
    import torch
    from choreographer.nodes.host.uni_control import load_uni_file

    net = load_uni_file(str(options.uni_control or ROOT / "demo" / UNI))
    with torch.inference_mode():
        seconds = cost(net, demo.model, demo.encoded(source_of(options.seed)[2]))
    print("seconds:", seconds)
    write_rows(options.out, "modes", [seconds], [])
