"""Layered neural atlases: networks, losses, Jacobians and gradients on fixed pixels.

Runs inside the environment.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from core.atlas import losses
from core.atlas.fit import Weights
from core.atlas.networks import Grid, Perceptron, alpha_of, waves

from ..golden_weights import fill
from .finding import Finding, relative
from .image_prompt import SPREAD, read_golden

OCTAVES = {"atlas": 10, "alpha": 5}
SKIPS = {"atlas": (4, 7)}
LAYERS = ("foreground", "background")
FAR = 100


def networks(about: Mapping[str, str]) -> dict[str, Perceptron]:
    """The filled networks of a file, by name."""
    shapes = {key: tuple(shape) for key, shape in json.loads(about["weights"]).items()}
    weights, found = fill(shapes, int(about.get("seed", 0)), SPREAD), {}
    for name in dict.fromkeys(key.split(".")[1] for key in shapes):
        own = {key.split(".", 2)[2]: t for key, t in weights.items() if key.split(".")[1] == name}
        layers, inputs = len(own) // 2, 2 if name == "atlas" else 3
        outputs, hidden = len(own[f"hidden.{layers - 1}.bias"]), len(own["hidden.0.bias"])
        found[name] = Perceptron(inputs, outputs, hidden, layers, OCTAVES.get(name, 0), SKIPS.get(name, ()))
        found[name].load_state_dict(own)
    return found


class Case:
    """A file's pixels, flow and scale, and what is made of them."""

    def __init__(self, about: Mapping[str, str], data: Mapping[str, Tensor]):
        """Take a file's parts."""
        x, y, t = data["jif"][..., 0]
        self.data, self.scale = data, float(about["uv_mapping_scale"])
        self.pixels = losses.Pixels(x, y, t, Grid(int(about["larger_dim"]), int(about["frames"])))
        masks = (data[key] > 0 for key in ("flow_mask", "flow_rev_mask"))
        flow = losses.Flow(data["flow"], next(masks), data["flow_rev"], next(masks))
        self.found = losses.both_ways(self.pixels, flow)

    def at(self, key: str) -> Tensor:
        """A clip (H, W, C, F) of the file at the pixels, (N, C)."""
        return self.data[key][self.pixels.y, self.pixels.x, ..., self.pixels.t]

    def jacobian(self, mapping, step: int) -> Tensor:
        """Of a mapping at the pixels, by the published code's backward differences."""
        here = mapping(self.pixels.points())
        x, y = (here - mapping(self.pixels.points(**back)) for back in ({"dx": -step}, {"dy": -step}))
        return losses.jacobians(x, y, self.pixels.grid, step, self.scale)

    def flow_loss(self, mapping, weights: Tensor | None = None) -> Tensor:
        """The flow loss of a mapping."""
        here = mapping(self.pixels.points())
        return losses.flow_loss(mapping, here, self.found, self.pixels.grid, weights, self.scale)


def check_losses(path: Path) -> Iterator[Finding]:
    """Positions, networks, `loss.*` with both totals, `jacobian*`, `rigidity*_all`, `grad.*`."""
    about, data = read_golden(path)
    nets, case = networks(about), Case(about, data)
    made, parts = _evaluated(nets, case)
    for step in sorted({int(found[1]) for key in data if (found := re.search(r"rigidity1_d(\d+)$", key))}):
        for number in (1, 2):
            jacobian = case.jacobian(nets[f"mapping{number}"], step)
            all_of = losses.rigidity(jacobian)
            made[f"jacobian{number}_d{step}"], made[f"rigidity{number}_d{step}_all"] = jacobian, all_of
            made[f"loss.rigidity{number}_d{step}"] = all_of.mean()
            if step in (1, FAR):
                parts[f"{'far' if step == FAR else 'rigidity'} {LAYERS[number - 1]}"] = all_of.mean()
    first = Weights().total(parts, early=True, bootstrapping=True)
    made |= {"loss.total_phase1": first}
    made |= {"loss.total_phase3": Weights().total(parts, early=False, bootstrapping=False)}
    first.backward()
    yield from (Finding(key, relative(made[key].detach(), data[key])) for key in made if key in data)
    yield from _gradients(nets, data)


def _evaluated(nets: Mapping[str, Perceptron], case: Case) -> tuple[dict, dict]:
    """Quantities by the file's names, and losses by ours."""
    pixels, atlas = case.pixels, nets["atlas"]

    def alpha_at(points: Tensor) -> Tensor:
        return alpha_of(nets["alpha"](points))

    def layer(number: int, points: Tensor) -> Tensor:  # the foreground has the atlas's square 0..1
        return (atlas(nets[f"mapping{number}"](points) * 0.5 + (0.5, -0.5)[number - 1]) + 1) * 0.5

    def colours(points: Tensor) -> Tensor:
        alpha = alpha_at(points)
        return layer(1, points) * alpha + layer(2, points) * (1 - alpha)

    points = pixels.points()
    alpha, rgb = alpha_at(points), colours(points)
    video = case.data["video"]
    dx, dy = torch.zeros_like(video), torch.zeros_like(video)
    dx[:, :-1], dy[:-1] = video[:, 1:] - video[:, :-1], video[1:] - video[:-1]
    dx, dy = (part[pixels.y, pixels.x, :, pixels.t] for part in (dx, dy))
    right, below = colours(pixels.points(dx=1)) - rgb, colours(pixels.points(dy=1)) - rgb
    mask = case.at("mask")[:, None]
    parts = {
        "rgb": losses.squared(rgb - video[pixels.y, pixels.x, :, pixels.t]),
        "gradient": losses.gradient_loss(right, below, dx, dy),
        "sparsity": losses.sparsity_loss(layer(1, points), alpha),
        "alpha_flow": losses.alpha_flow_loss(alpha_at, alpha, case.found),
        "bootstrap": losses.bootstrap_loss(alpha, mask),
        "flow foreground": case.flow_loss(nets["mapping1"], alpha),
        "flow background": case.flow_loss(nets["mapping2"], 1 - alpha),
    }
    made = {"xyt": points, "posenc_xyt_5": waves(points, 5), "alpha": alpha, "rgb": rgb}
    for number in (1, 2):
        made |= {f"uv{number}": nets[f"mapping{number}"](points), f"rgb{number}": layer(number, points)}
    names = {"rgb", "gradient", "sparsity", "bootstrap"}
    made |= {f"loss.{name}": parts[name] for name in names}
    made |= {"loss.flow1": parts["flow foreground"], "loss.flow2": parts["flow background"]}
    made |= {"loss.flow_alpha": parts["alpha_flow"]}
    made |= {"loss.flow1_no_alpha": case.flow_loss(nets["mapping1"])}
    return made, parts


def _gradients(nets: Mapping[str, Perceptron], data: Mapping[str, Tensor]) -> Iterator[Finding]:
    for key, reference in data.items():
        if key.startswith("grad."):
            _, name, rest = key.split(".", 2)
            last = f"hidden.{len(nets[name].hidden) - 1}"
            yield Finding(key, relative(nets[name].get_parameter(rest.replace("last", last)).grad, reference))


def check_wellconditioned(path: Path) -> Iterator[Finding]:
    """Rigidity, flow loss and gradients of a mapping that is nearly the position itself."""
    about, data = read_golden(path)
    case = Case(about, data)
    share, bend = map(float, re.search(r"uv = ([\d.]+)\*xy \+ ([\d.]+)\*", about["mapping"]).groups())
    net = networks(about)["mapping1"]

    def mapping(points: Tensor) -> Tensor:
        return share * points[:, :2] + bend * net(points)

    made = {"uv": mapping(case.pixels.points()), "loss.flow": case.flow_loss(mapping)}
    for step in (1, FAR):
        made[f"rigidity_all_d{step}"] = losses.rigidity(case.jacobian(mapping, step))
        made[f"rigidity_d{step}"] = made[f"rigidity_all_d{step}"].mean()
    weights = Weights()
    total = weights.rigidity * made["rigidity_d1"] + weights.far[0] * made[f"rigidity_d{FAR}"]
    (total + weights.flow * made["loss.flow"]).backward()
    yield from (Finding(key, relative(made[key].detach(), data[key])) for key in made if key in data)
    grads = {name: parameter.grad for name, parameter in net.named_parameters()}
    yield from (Finding(f"grad.{name}", relative(g, data[f"grad.{name}"])) for name, g in grads.items())
