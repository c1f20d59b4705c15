"""Build an atlas from a clip: small mapping networks and two pictures, fitted together in about a minute.

The losses and their weights are those of layered neural atlases (Kasten et al. 2021); the original's networks
take a day on a large GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..optical_flow import consistent, dis_flow
from . import losses
from .losses import Flow, Pixels
from .model import BACKGROUND, Atlas
from .moves import composed, moved, to_first
from .networks import Grid, look_up

NETS_RATE, TEXTURE_RATE = 7e-4, 2e-2
OPACITY_RATE, OPACITY_STEPS = 1e-2, 200
SEEN = 1e-3  # weight from which a place of a picture has been seen
FADE = 0.1  # of the learning rates is left at the end
MARGIN = 0.92  # of the picture's half side that the frames' edges reach
FAR = 100  # pixels of the differences that keep a layer whole
MOST_SIDE = 8192  # of the pictures: a layer of that size takes 3 GB while it is fitted


@dataclass(frozen=True)
class Weights:
    """Of each loss; `far` is rigidity over 100 pixels, of foreground and background."""

    rgb: float = 5000.0
    gradient: float = 1000.0
    sparsity: float = 1000.0
    rigidity: float = 1.0
    far: tuple[float, float] = (5.0, 50.0)
    flow: float = 5.0
    alpha_flow: float = 49.0
    bootstrap: float = 2000.0

    def total(self, parts: Mapping[str, Tensor], early: bool, bootstrapping: bool) -> Tensor:
        """The sum of the parts by name; `early` adds the far rigidity, `bootstrapping` the masks."""
        plain = ("rgb", "gradient", "sparsity", "alpha_flow")
        total = sum(getattr(self, name) * parts[name] for name in plain if name in parts)
        for layer, far in zip(("foreground", "background"), self.far, strict=True):
            if f"rigidity {layer}" in parts:
                total = total + self.rigidity * parts[f"rigidity {layer}"]
                total = total + self.flow * parts[f"flow {layer}"]
                total = total + (far * parts[f"far {layer}"] if early else 0)
        return total + (self.bootstrap * parts["bootstrap"] if bootstrapping and "bootstrap" in parts else 0)


@dataclass(frozen=True)
class AtlasSettings:
    """How an atlas is fitted.

    steps and batch: of the fit, in pixels; `early` and `masked` are the shares of it with far rigidity and
    with the masks; anchor: only frames before this one colour the pictures (0: all); weights of the losses.
    """

    steps: int = 600
    batch: int = 2048
    seed: int = 0
    early: float = 0.25
    masked: float = 0.6
    anchor: int = 0
    weights: Weights = Weights()

    def __post_init__(self):
        """Raise ValueError for what cannot be."""
        if self.steps < 1 or self.batch < 1:
            raise ValueError(f"An atlas needs at least 1 step of 1 pixel, got {self.steps} of {self.batch}.")


class Clip:
    """A clip as the losses ask for it: colours, differences to neighbours, masks and flow at pixels."""

    def __init__(self, images: Tensor, masks: Tensor | None, device=None, report: Callable | None = None):
        """Take images (F, H, W, 3) in 0..1 and masks (F, H, W) of the foreground, or None.

        Raises ValueError for fewer than 2 frames, or masks of another shape.
        """
        if masks is not None and masks.shape != images.shape[:3]:
            raise ValueError(
                f"The masks are {len(masks)} of {masks.shape[-1]}x{masks.shape[-2]}, the clip {len(images)} "
                f"frames of {images.shape[2]}x{images.shape[1]}; expected one of its size a frame."
            )
        ahead, back = dis_flow(images, report=report), dis_flow(images, backward=True, report=report)
        self.frames, self.size = len(images), tuple(images.shape[1:3])
        self.images = images.float().to(device)
        self.masks = None if masks is None else masks.float().to(device)
        self.ahead = ahead
        holds = consistent(ahead, back), consistent(back, ahead)
        flows = (*_strided(ahead, holds[0], last=True), *_strided(back, holds[1], last=False))
        self.flow = Flow(*(part.to(device) for part in flows))

    def colours(self, pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
        """Colours at pixels, and by how much they differ to the right and below, (N, 3); 0 at the edge."""
        (height, width), t, y, x = self.size, pixels.t, pixels.y, pixels.x
        here = self.images[t, y, x]
        right, below = (x + 1).clamp(max=width - 1), (y + 1).clamp(max=height - 1)
        return here, self.images[t, y, right] - here, self.images[t, below, x] - here

    def mask(self, pixels: Pixels) -> Tensor:
        """The foreground's mask at pixels, (N, 1)."""
        return self.masks[pixels.t, pixels.y, pixels.x][:, None]

    def layers(self) -> list[Tensor]:
        """Where each layer shows, (F, H, W) bool, the foreground first."""
        if self.masks is None:
            return [torch.ones(self.frames, *self.size, dtype=torch.bool)]
        inside = self.masks.cpu() > 0.5
        return [inside, ~inside]

    def moves(self) -> list[Tensor]:
        """How each layer moves as a whole, (F, 2, 3) to its place in the first frame, in pixels."""
        holds = self.flow.forward_mask[..., :-1, 0].permute(2, 0, 1).cpu()
        return [to_first(self.ahead, holds & layer[:-1]) for layer in self.layers()]


def _strided(flow: Tensor, holds: Tensor, last: bool) -> tuple[Tensor, Tensor]:
    """Flow (F - 1, 2, H, W) and mask as the losses take them; the clip's last, or first, frame has none."""
    order = (flow, flow[:1] * 0) if last else (flow[:1] * 0, flow)
    masks = (holds, holds[:1] & False) if last else (holds[:1] & False, holds)
    return torch.cat(order).permute(2, 3, 1, 0)[..., None], torch.cat(masks).permute(1, 2, 0)[..., None]


def start_atlas(clip: Clip) -> Atlas:
    """A first guess: layers that move as a whole, in pictures large enough for all that comes into view.

    Raises ValueError for a clip that would need pictures of more than `MOST_SIDE` pixels a side.
    """
    moves, half = clip.moves(), max(clip.size) / 2
    ends = [_ends(own, layer) for own, layer in zip(moves, clip.layers(), strict=True)]
    reach = max(float((high - low).max()) / 2 for low, high in ends)
    scale = MARGIN * half / reach
    _check_side(2 * half / scale, 2 * reach)
    to_pixels = torch.tensor([[half, 0, half], [0, half, half]], dtype=torch.float64)
    placed = []
    for own, (low, high) in zip(moves, ends, strict=True):
        shrink = torch.eye(2, dtype=torch.float64) * (scale / half)
        into = torch.cat((shrink, -shrink @ ((low + high) / 2)[:, None]), dim=1)
        placed.append(torch.stack([composed(into, composed(move, to_pixels)) for move in own]))
    return Atlas(clip.size, clip.frames, placed, scale).to(clip.images.device)


def _check_side(side: float, moved_over: float) -> None:
    """Raise ValueError for pictures too large to be fitted, before there is any."""
    if not side <= MOST_SIDE:
        raise ValueError(
            f"The clip moves over {moved_over:.0f} pixels; the atlas would be {side:.0f}x{side:.0f}, at most "
            f"{MOST_SIDE}x{MOST_SIDE} can be fitted; use fewer frames."
        )


def _ends(moves: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest place (2,) in the first frame's pixels that a layer comes to."""
    corners = []
    for move, here in zip(moves, inside, strict=True):
        y, x = torch.where(here)
        if len(x):
            box = [[a, b] for a in (x.min(), x.max()) for b in (y.min(), y.max())]
            corners.append(moved(move, torch.tensor(box, dtype=torch.float64)))
    found = torch.cat(corners) if corners else torch.zeros(1, 2, dtype=torch.float64)
    return found.amin(0), found.amax(0)


def fit_opacity(atlas: Atlas, clip: Clip, batch: int, generator: torch.Generator) -> None:
    """Bring the opacity near the masks before anything else, which is quick; nothing without a foreground."""
    if atlas.opacity is None:
        return
    optimizer = torch.optim.Adam(atlas.opacity.parameters(), lr=OPACITY_RATE)
    for _ in range(OPACITY_STEPS):
        pixels = draw(clip, batch, generator)
        loss = losses.bootstrap_loss(atlas.alpha(pixels.points()), clip.mask(pixels))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def fill_textures(atlas: Atlas, clip: Clip, frames: int, report: Callable | None = None) -> None:
    """The mean of what the first frames show at each place; elsewhere black, or the background's mean.

    report(done) after each frame; it may raise to stop.
    """
    total, weight = torch.zeros_like(atlas.textures), torch.zeros_like(atlas.textures[:, :1])
    for frame in range(frames):
        for layer, (found, seen) in enumerate(atlas.gathered(frame, clip.images[frame].flatten(0, 1))):
            total[layer] += found * seen
            weight[layer] += seen
        if report is not None:
            report(frame + 1)
    colours = total / weight.clamp_min(1e-6)
    unseen = torch.zeros_like(colours)
    unseen[-1] = clip.images[:frames].mean((0, 1, 2))[:, None, None]
    atlas.textures.copy_(torch.where(weight > SEEN, colours, unseen))


def fit_atlas(clip: Clip, settings: AtlasSettings = AtlasSettings(), report: Callable | None = None) -> Atlas:  # noqa: B008
    """Fit an atlas to a clip.

    report(done, total, atlas) after each frame that colours the pictures and each step; it may raise to stop.
    The same clip and seed give the same atlas on the same machine. Raises ValueError as `start_atlas`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        atlas = start_atlas(clip)
    generator = torch.Generator().manual_seed(settings.seed)
    fit_opacity(atlas, clip, settings.batch, generator)
    colouring = min(settings.anchor or clip.frames, clip.frames)

    def tell(done: int) -> None:
        if report is not None:
            report(done, colouring + settings.steps, atlas)

    fill_textures(atlas, clip, colouring, tell)
    nets = [parameter for name, parameter in atlas.named_parameters() if name != "textures"]
    groups = [{"params": nets, "lr": NETS_RATE}, {"params": [atlas.textures], "lr": TEXTURE_RATE}]
    optimizer = torch.optim.Adam(groups)
    fading = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: FADE ** (n / settings.steps))
    for step in range(settings.steps):
        share = step / settings.steps
        early, masked = share < settings.early, share < settings.masked
        parts = parts_of(atlas, clip, draw(clip, settings.batch, generator), settings.anchor, early)
        loss = settings.weights.total(parts, early, masked)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        fading.step()
        tell(colouring + step + 1)
    return atlas.requires_grad_(False)


def draw(clip: Clip, count: int, generator: torch.Generator) -> Pixels:
    """So many pixels of a clip, evenly drawn."""
    device = clip.images.device
    t, y, x = (
        torch.randint(most, (count,), generator=generator).to(device) for most in (clip.frames, *clip.size)
    )
    return Pixels(x, y, t, Grid(max(clip.size), clip.frames))


def parts_of(
    atlas: Atlas, clip: Clip, pixels: Pixels, anchor: int = 0, far: bool = True
) -> dict[str, Tensor]:
    """All losses at some pixels, by name; the far rigidity only on demand.

    Differences are forward ones, as in the paper's Eq. 9: they are needed for the colours as well. With
    `anchor` later frames leave the pictures as they are.
    """
    places = torch.cat((pixels.points(), pixels.points(dx=1), pixels.points(dy=1)))
    uv, alpha = [layer(places) for layer in atlas.layers], atlas.alpha(places)
    rgb, right, below = _colours(atlas, uv, alpha, pixels.t.repeat(3), anchor).chunk(3)
    wanted, dx, dy = clip.colours(pixels)
    parts = {
        "rgb": losses.squared(rgb - wanted),
        "gradient": losses.gradient_loss(right - rgb, below - rgb, dx, dy),
    }
    found, alpha = losses.both_ways(pixels, clip.flow), alpha[: len(rgb)]
    for name, layer, all_uv in zip(atlas.names, atlas.layers, uv, strict=True):
        here, x, y = all_uv.chunk(3)
        share = 1 - alpha if name == BACKGROUND else alpha
        parts[f"flow {name}"] = losses.flow_loss(layer, here, found, pixels.grid, share, atlas.scale)
        parts[f"rigidity {name}"] = _rigidity(atlas, x - here, y - here, 1)
        if far:
            x, y = layer(torch.cat((pixels.points(dx=-FAR), pixels.points(dy=-FAR)))).chunk(2)
            parts[f"far {name}"] = _rigidity(atlas, here - x, here - y, FAR)
    if atlas.opacity is not None:
        parts["sparsity"] = losses.sparsity_loss(look_up(atlas.textures[0], uv[0][: len(rgb)]), alpha)
        parts["alpha_flow"] = losses.alpha_flow_loss(atlas.alpha, alpha, found)
        parts["bootstrap"] = losses.bootstrap_loss(alpha, clip.mask(pixels))
    return parts


def _colours(atlas: Atlas, uv: list[Tensor], alpha: Tensor, frames: Tensor, anchor: int) -> Tensor:
    made = atlas.covered(uv, alpha, atlas.textures)
    if not anchor:
        return made
    return torch.where((frames < anchor)[:, None], made, atlas.covered(uv, alpha, atlas.textures.detach()))


def _rigidity(atlas: Atlas, along_x: Tensor, along_y: Tensor, step: int) -> Tensor:
    return losses.rigidity(losses.jacobians(along_x, along_y, atlas.grid, step, atlas.scale)).mean()
