"""`dev.py bench`: what motion costs, as ratios of times taken in turn. Runs inside the environment.

    python dev.py bench [--quick] [--pixels 128] [--frames 16] [--repeats 5]

Random weights in the full SD1.5 shape; a step is one call of the UNet on cond and uncond together. A round
times the two sides in turn, and the figure is the median of the rounds. On a busy machine the CPU time, which
is summed over threads, is the steadier figure.
"""

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable

import torch

from core.motion.attach import MotionState, attach
from core.motion.model import MotionConfig, MotionModel
from core.motion.sites import find_sites

WIDTHS = (320, 640, 1280, 1280)
TEXT_TOKENS, TEXT_WIDTH = 77, 768
COMFY_UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": (1, 2, 4, 4),
    "num_heads": 8,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": TEXT_WIDTH,
    "use_linear_in_transformer": False,
    "legacy": False,
}


def read_options(arguments: list[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="dev.py bench", description="What motion costs, as ratios.")
    parser.add_argument("--quick", action="store_true", help="two rounds instead of five")
    parser.add_argument("--pixels", type=int, default=128, help="height and width of a frame (128)")
    parser.add_argument("--frames", type=int, default=16, help="frames of the clip (16)")
    parser.add_argument("--repeats", type=int, help="timed rounds (5)")
    options = parser.parse_args(arguments)
    options.repeats = options.repeats or (2 if options.quick else 5)
    options.device = "cuda" if torch.cuda.is_available() else "cpu"
    return options


def inputs(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents (2 F, 4, h, w), time steps (2 F,), text states (2 F, 77, 768): uncond and cond of one clip."""
    generator = torch.Generator().manual_seed(0)
    batch, side = 2 * options.frames, options.pixels // 8
    latents = torch.randn(batch, 4, side, side, generator=generator)
    text = torch.randn(batch, TEXT_TOKENS, TEXT_WIDTH, generator=generator)
    return latents.to(options.device), torch.full((batch,), 500.0).to(options.device), text.to(options.device)


def randomize(model: torch.nn.Module) -> torch.nn.Module:
    """Small random weights everywhere (layers that start at zero too); ready for inference."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * weight[0].numel() ** -0.5)
            else:
                weight.fill_(1.0)
    return model.eval()


def our_motion(options: argparse.Namespace, clip_norm: bool = False) -> MotionModel:
    """Our 20 motion modules (AnimateDiff v3's shape). clip_norm: norms over frames, like diffusers."""
    return randomize(MotionModel(MotionConfig(WIDTHS, clip_norm=clip_norm), device=options.device))


def seconds(step: Callable[[], object]) -> dict[str, float]:
    """How long one call takes, and what all CPU threads spend in it (on a GPU only the first counts)."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return {"wall": time.perf_counter() - wall, "CPU": time.process_time() - cpu}


def ratios(base: Callable[[], object], other: Callable[[], object], rounds: int) -> dict[str, list[float]]:
    """Time of `other` over time of `base` in each round; every other round runs them in the other order."""
    base(), other()
    found = {"wall": [], "CPU": []}
    for index in range(rounds):
        order = (other, base) if index % 2 else (base, other)
        times = {step: seconds(step) for step in order}
        for kind, values in found.items():
            values.append(times[other][kind] / times[base][kind])
        took = ", ".join(f"{times[base][kind]:.2f} and {times[other][kind]:.2f} s {kind}" for kind in found)
        print(f"    round {index + 1}: {took}", flush=True)
    return found


def report(text: str, found: dict[str, list[float]], less: float = 0.0) -> None:
    """Print median, minimum and maximum of the ratios less a number, for both kinds of time."""
    for kind, values in found.items():
        middle, low, high = (choose(values) - less for choose in (statistics.median, min, max))
        print(
            f"{text}: {middle:.3f} in {kind} time (min {low:.3f}, max {high:.3f}, {len(values)} rounds)",
            flush=True,
        )


@torch.inference_mode()
def against_plain_unet(options: argparse.Namespace) -> None:
    """ComfyUI's UNet without and with our motion modules."""
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    from comfy.cli_args import args

    args.cpu = options.device == "cpu"
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import disable_weight_init

    unet = UNetModel(**COMFY_UNET, device=options.device, dtype=torch.float32, operations=disable_weight_init)
    randomize(unet)
    latents, steps, text = inputs(options)
    state = MotionState(frames=options.frames)
    attach(our_motion(options), find_sites(unet, mid_block=False), state)

    def step(active: bool) -> torch.Tensor:
        state.active = active
        return unet(latents, steps, context=text)

    if torch.equal(step(False), step(True)):
        raise SystemExit("the motion modules change nothing: the benchmark would measure nothing")
    print("  ComfyUI's UNet, plain and with our 20 motion modules", flush=True)
    found = ratios(lambda: step(False), lambda: step(True), options.repeats)
    report("motion adds, in parts of the plain step (goal: at most 0.5)", found, less=1.0)


@torch.inference_mode()
def against_diffusers(options: argparse.Namespace) -> None:
    """Ours on diffusers' UNet2DConditionModel, and diffusers' own UNetMotionModel of the same shape."""
    from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel

    plain = randomize(UNet2DConditionModel(cross_attention_dim=TEXT_WIDTH)).to(options.device)
    adapter = MotionAdapter(motion_max_seq_length=32, use_motion_mid_block=False)
    theirs = randomize(UNetMotionModel.from_unet2d(plain, adapter)).to(options.device)
    del adapter
    gc.collect()
    latents, steps, text = inputs(options)
    clips = latents.unflatten(0, (2, options.frames)).transpose(1, 2)  # B C F h w
    attach(
        our_motion(options, clip_norm=True), find_sites(plain, mid_block=False), MotionState(options.frames)
    )
    print("  diffusers' UNetMotionModel, and ours on diffusers' UNet2DConditionModel", flush=True)
    found = ratios(
        lambda: theirs(clips, steps[0], encoder_hidden_states=text),
        lambda: plain(latents, steps, encoder_hidden_states=text),
        options.repeats,
    )
    report("ours takes, in parts of diffusers' step (goal: below 1)", found)


def main(arguments: list[str]) -> int:
    """Run both comparisons."""
    options = read_options(arguments)
    where = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(
        f"SD1.5 shape, random fp32 weights, {options.pixels} px, {options.frames} frames, {where}", flush=True
    )
    against_plain_unet(options)
    gc.collect()
    against_diffusers(options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
