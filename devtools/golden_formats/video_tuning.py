"""Tune-A-Video: sparse-causal attention, its transformer, training steps, DDIM inversion.

Runs inside the environment.
"""

import json
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from core.control.blocks import TransformerBlock
from core.image_prompt.attach import Block
from core.image_prompt.network import Place
from core.schedules import alphas_cumprod
from core.training.loop import Trainer
from core.training.tune import tuning_plan
from core.tuning.attach import TuningState, attach_blocks, sparse_causal
from core.tuning.ddim import invert, published_sigmas, published_times, sample, scaled, unscaled
from core.tuning.layouts import published_weights, read_tuning
from core.tuning.network import VideoTuning

from .. import torchvision_shim
from ..golden_weights import fill
from .finding import Finding, relative
from .image_prompt import MIDDLE, SPREAD, read_golden

BLOCK = f"{MIDDLE}transformer_blocks.0."
HEADS = 4  # of a block whose file does not say


def weights_under(about: Mapping[str, str], key: str, prefix: str) -> dict[str, Tensor]:
    """Filled weights that the metadata lists under `key`, by their names without the prefix."""
    shapes = {name: tuple(shape) for name, shape in json.loads(about[key]).items()}
    filled = fill(shapes, int(about.get("seed", 0)), SPREAD)
    return {name.removeprefix(prefix): weight for name, weight in filled.items()}


def check_sparse_causal(path: Path) -> Iterator[Finding]:
    """`fF.y` of `fF.x`, (b f) d c, for each number of frames F."""
    about, data = read_golden(path)
    weights = weights_under(about, "weights", about["prefix"])

    def layer(x: Tensor, name: str) -> Tensor:
        return torch.nn.functional.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    for name in sorted({key.split(".")[0] for key in data}):
        parts = [layer(data[f"{name}.x"], part) for part in ("to_q", "to_k", "to_v")]
        ours = sparse_causal(*parts, int(name[1:]), int(about["heads"]))
        yield Finding(f"{name}.y", relative(layer(ours, "to_out.0"), data[f"{name}.y"]))


def check_video_transformer(path: Path) -> Iterator[Finding]:
    """`NAME.y` of the clip `NAME.x`, b c f h w, and text: the transformer with convolutions or Linears."""
    torchvision_shim.install()
    from diffusers import Transformer2DModel

    about, data = read_golden(path)
    heads, size = int(about["heads"]), int(about["dim_head"])
    for name in sorted({key.split(".")[0] for key in data}):
        x, text = data[f"{name}.x"], data[f"{name}.ctx"]
        weights = weights_under(about, f"weights_{name}", about["prefix"].replace("<name>", name))
        linear = weights["proj_in.weight"].ndim == 2
        model = Transformer2DModel(
            heads, size, heads * size, cross_attention_dim=text.shape[2], use_linear_projection=linear
        ).eval()
        model.load_state_dict({key: weights[key] for key in model.state_dict()})
        tune(model.transformer_blocks[0], heads * size, weights, "transformer_blocks.0.", x.shape[2])
        rows = x.transpose(1, 2).flatten(0, 1)
        with torch.no_grad():
            y = model(rows, encoder_hidden_states=text.repeat_interleave(x.shape[2], 0)).sample
        ours = y.unflatten(0, (-1, x.shape[2])).transpose(1, 2)
        yield Finding(f"{name}.y", relative(ours, data[f"{name}.y"]))


def tune(block, width: int, weights: Mapping[str, Tensor], prefix: str, frames: int) -> VideoTuning:
    """Attach a tuning with these weights to a block; queries come whole, as in published files."""
    named = {f"{BLOCK}{key.removeprefix(prefix)}": tensor for key, tensor in weights.items()}
    tuning = read_tuning(named).float()
    attach_blocks([Block(Place(BLOCK[:-1], width, 0), block)], TuningState(frames=frames), tuning)
    return tuning


def check_training(path: Path) -> Iterator[Finding]:
    """Gradients of the first step, their norm, `after3.*` weights and `losses` of three steps on a block."""
    about, data = read_golden(path)
    weights = weights_under(about, "weights", about["prefix"])
    frames = len(data["x"]) // len(data["ctx"])
    width, heads = data["x"].shape[-1], int(about.get("heads", HEADS))
    block = TransformerBlock(width, data["ctx"].shape[-1], heads).requires_grad_(False)
    block.load_state_dict({key: weights[key] for key in block.state_dict()})
    tuning = tune(block, width, weights, "", frames)
    tuning.freeze_norms()
    text = data["ctx"].repeat_interleave(frames, 0)

    def loss(*_) -> Tensor:
        return (block(data["x"], text) - data["target"]).square().mean()

    loss().backward()
    named = published_weights(tuning)  # the parameters themselves
    trained = {key.removeprefix(BLOCK): p for key, p in named.items() if p.requires_grad}
    grads = {name: p.grad for name, p in trained.items() if p.grad is not None}
    norm = torch.stack([g.norm() for g in grads.values()]).norm()
    yield Finding("grad_norm", relative(norm.detach(), data["grad_norm"]))
    yield from (Finding(f"grad.{n}", relative(g, data[f"grad.{n}"])) for n, g in grads.items())
    tuning.zero_grad()
    with tempfile.TemporaryDirectory() as folder:
        plan = tuning_plan(len(data["losses"]), Path(folder))
        trainer = Trainer({"tuning": tuning}, loss, plan, quiet).run()
    yield Finding("losses", relative(torch.tensor(trainer.losses), data["losses"]))
    yield from (Finding(f"after3.{n}", relative(p.detach(), data[f"after3.{n}"])) for n, p in trained.items())


def quiet(*_) -> None:
    """No progress."""


def check_inversion(path: Path) -> Iterator[Finding]:
    """`timesteps_N`, `inv_N_after_i` and `roundtrip_N` with fixed model outputs in place of a model's."""
    about, data = read_golden(path)
    config = json.loads(about["config"])
    kept = alphas_cumprod(config["beta_schedule"])
    yield Finding("alphas_cumprod", relative(kept, data["alphas_cumprod"]))
    for key in data:
        if found := re.fullmatch(r"timesteps_(\d+)", key):
            count = int(found[1])
            times = published_times(count, config["steps_offset"])
            yield Finding(key, relative(torch.tensor(times), data[key]), 0.0)
            yield from _inversion(data, count, published_sigmas(times, kept), int(about.get("seed", 0)))


def _inversion(data: Mapping[str, Tensor], count: int, sigmas: list[float], seed: int) -> Iterator[Finding]:
    """Every stored clip on the way up, and the one that comes back down."""
    x0, seen = data["x0"], []

    def noise(index: int) -> Tensor:
        return torch.randn(x0.shape, generator=_generator(f"input:e.eps.{count}.{index}", seed))

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return x - sigma * noise(sigmas[-2::-1].index(sigma))

    def note(number: int, _total: int, x: Tensor) -> None:
        seen.append(scaled(x, sigmas[-1 - number]))

    top = invert(denoise, unscaled(x0, sigmas[-1]), sigmas, report=note)
    for index, ours in enumerate(seen):
        name = f"inv_{count}_after_{index}"
        if name in data:
            yield Finding(name, relative(ours, data[name]))
    back = scaled(sample(denoise, top, sigmas), sigmas[-1])
    yield Finding(f"roundtrip_{count}", relative(back, data[f"roundtrip_{count}"]))


def _generator(key: str, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed((zlib.crc32(key.encode()) + seed) & 0xFFFFFFFF)
