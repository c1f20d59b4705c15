"""Patch attention between two frames in a local window, from coarse to fine (CCDM Eq. 9 and 10).

Queries are the patches of the target's guide, keys those of the source's guide, values the source's picture.
Hard attention is the limit of temperature zero: the nearest patch, then a vote of overlapping patches.

A flow is int64 `(P, 2, H, W)` in pixels, channel 0 = dx: pixel p of the target is found at p + flow(p) in the
source. Guides are zero-mean float `(P, C, H, W)` on a scale where 255 is black to white; errors are mean
squares of it. P pairs are worked on together. Everything is deterministic, on any device.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

SPREAD = (4, 2)  # how far away, in pixels, a neighbour's flow is tried
FIRM = 10.0  # grey levels; a match this far off counts exp(-1) even where all others are perfect
NOISE = 2.2  # or this many times the pair's usual squared error, where that is more
JUDGED = 3  # pixels; the neighbourhood over which a match is judged
SAMPLES = 2**14  # pixels from which the usual error is taken


@dataclass(frozen=True)
class Attention:
    """How to match: `radius` of the window, side of a `patch`, side of a `vote` patch, `temperature`.

    temperature: 0 for the nearest patch; above it, softmax(-error / temperature) over the window, with the
    error in squared grey levels (10 to 20 keeps detail, 100 blurs).
    """

    radius: int = 3
    patch: int = 9
    vote: int = 3
    temperature: float = 0.0

    def __post_init__(self):
        """Raise ValueError for what cannot be."""
        if self.radius < 1:
            raise ValueError(f"Attention radius is {self.radius}, expected at least 1.")
        for name in ("patch", "vote"):
            size = getattr(self, name)
            if size < 1 or size % 2 == 0:
                raise ValueError(f"Attention {name} is {size}, expected an odd number of pixels.")
        if self.temperature < 0:
            raise ValueError(f"Attention temperature is {self.temperature}, expected 0 or more.")


HARD = Attention()


def positions(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Each pixel's own place, (2, H, W) int64, channel 0 = x."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack((x, y))


def inside(flow: torch.Tensor) -> torch.Tensor:
    """The flow, shortened where it would leave the frame, (P, 2, H, W)."""
    height, width = flow.shape[-2:]
    own = positions(height, width, flow.device)
    x = (flow[:, 0] + own[0]).clamp(0, width - 1) - own[0]
    y = (flow[:, 1] + own[1]).clamp(0, height - 1) - own[1]
    return torch.stack((x, y), dim=1)


def box_mean(values: torch.Tensor, size: int) -> torch.Tensor:
    """Mean over size x size pixels, edges continued, (P, H, W); `size` odd."""
    reach, (height, width) = size // 2, values.shape[-2:]
    padded = F.pad(values[:, None], (reach,) * 4, mode="replicate")[:, 0]
    rows = padded[:, :height].clone()
    for i in range(1, size):
        rows += padded[:, i : i + height]
    total = rows[..., :width].clone()
    for i in range(1, size):
        total += rows[..., i : i + width]
    return total / size**2


def _look_up(planes: torch.Tensor, index: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Pixels of flattened planes (P, C, n) at the places `index` (P, H W), in the given shape."""
    return planes.gather(2, index[:, None].expand(-1, planes.shape[1], -1)).view(shape)


def _error(target: torch.Tensor, found: torch.Tensor, patch: int) -> torch.Tensor:
    """Mean squared difference over channels and a patch, (P, H, W)."""
    difference = target[:, 0] - found[:, 0]
    squares = difference * difference
    for channel in range(1, target.shape[1]):
        difference = target[:, channel] - found[:, channel]
        squares.addcmul_(difference, difference)
    return box_mean(squares, patch).div_(target.shape[1])


class _Search:
    """The best flow so far of one level, and its error."""

    def __init__(self, target: torch.Tensor, source: torch.Tensor, flow: torch.Tensor, settings: Attention):
        self.target, self.source, self.settings = target, source, settings
        self.own = positions(*target.shape[-2:], target.device)
        self.flow = inside(flow)
        self.error = self._error_of(self.flow)

    def _error_of(self, flow: torch.Tensor) -> torch.Tensor:
        """The error of a flow that stays inside."""
        index = ((flow[:, 1] + self.own[1]) * self.target.shape[-1] + flow[:, 0] + self.own[0]).flatten(1)
        found = _look_up(self.source.flatten(2), index, self.target.shape)
        return _error(self.target, found, self.settings.patch)

    def offer(self, flow: torch.Tensor) -> None:
        """Take a flow wherever it is better."""
        flow = inside(flow)
        error = self._error_of(flow)
        better = error < self.error
        self.error = torch.where(better, error, self.error)
        self.flow = torch.where(better[:, None], flow, self.flow)

    def spread(self) -> None:
        """Offer each pixel the flow of others some pixels away (PatchMatch's propagation, all at once)."""
        height, width = self.target.shape[-2:]
        for step in SPREAD:
            for dx, dy in ((step, 0), (-step, 0), (0, step), (0, -step)):
                rows = (torch.arange(height, device=self.own.device) + dy).clamp(0, height - 1)
                columns = (torch.arange(width, device=self.own.device) + dx).clamp(0, width - 1)
                self.offer(self.flow[:, :, rows][..., columns])

    def window(self, middle: torch.Tensor) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Each place (dx, dy) of the window around a flow that stays inside, and its error (P, H, W)."""
        radius, shape = self.settings.radius, self.target.shape
        wide = shape[-1] + 2 * radius
        padded = F.pad(self.source, (radius,) * 4, mode="replicate").flatten(2)
        x, y = (middle + self.own).unbind(1)
        index = ((y + radius) * wide + x + radius).flatten(1)
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                found = _look_up(padded, index + (dy * wide + dx), shape)
                yield dx, dy, _error(self.target, found, self.settings.patch)

    def search(self) -> None:
        """Take the best place of the window, where it is better than the present flow.

        The window lies around the flow's mean over a patch: where neighbours move alike, all of a patch is
        then compared at one shift, and the error is that of the patch.
        """
        middle = inside(_smooth(self.flow, self.settings.patch))
        best, (x, y) = self.error, self.flow.unbind(1)
        for dx, dy, error in self.window(middle):
            better = error < best
            best = torch.where(better, error, best)
            x = torch.where(better, middle[:, 0] + dx, x)
            y = torch.where(better, middle[:, 1] + dy, y)
        self.error, self.flow = best, inside(torch.stack((x, y), dim=1))


def _smooth(flow: torch.Tensor, size: int) -> torch.Tensor:
    """The flow's mean over size x size pixels, in whole pixels."""
    return torch.stack([box_mean(part.float(), size).round().long() for part in flow.unbind(1)], dim=1)


def find_near(target: torch.Tensor, source: torch.Tensor, settings: Attention) -> torch.Tensor:
    """The error (P, H, W) of the best patch within the window around each pixel's own place, one level."""
    still = torch.zeros(len(target), 2, *target.shape[-2:], dtype=torch.int64, device=target.device)
    search = _Search(target, source, still, settings)
    search.search()
    return search.error


def _search(target: torch.Tensor, source: torch.Tensor, flow: torch.Tensor, settings: Attention) -> _Search:
    """One level, from the flow of the coarser one."""
    search = _Search(target, source, flow, settings)
    search.offer(torch.zeros_like(search.flow))
    search.spread()
    search.search()
    search.spread()
    return search


def match(
    targets: Sequence[torch.Tensor], sources: Sequence[torch.Tensor], settings: Attention = HARD
) -> torch.Tensor:
    """The flow from each target to its source, (P, 2, H, W), by pyramids of guides, coarsest first.

    Each level starts from the coarser one's flow, tries no motion and the neighbours' motion, searches the
    window, and tries the neighbours' motion again.
    """
    pairs, _, height, width = targets[0].shape
    flow = torch.zeros(pairs, 2, height, width, dtype=torch.int64, device=targets[0].device)
    for target, source in zip(targets, sources, strict=True):
        if flow.shape[-2:] != target.shape[-2:]:
            flow = (2 * flow).repeat_interleave(2, -2).repeat_interleave(2, -1)
            flow = flow[..., : target.shape[-2], : target.shape[-1]]
        flow = _search(target, source, flow, settings).flow
    return flow


def vote(values: torch.Tensor, flow: torch.Tensor, patch: int) -> torch.Tensor:
    """Source pictures as the target's frame shows them: mean over the patches that cover a pixel.

    values: (P, C, H, W); flow: (P, 2, H, W). Of the patch offsets o, those count for which p + o lies in the
    target and (p + o) + flow(p + o) - o in the source. Returns (P, C, H, W).
    """
    reach, (channels, height, width) = patch // 2, values.shape[1:]
    ones = torch.ones_like(values[:, :1])
    padded = F.pad(torch.cat((values, ones), dim=1), (reach,) * 4)  # zero outside, and so is its count
    wide = width + 2 * reach
    x, y = (flow + positions(height, width, flow.device)).unbind(1)
    index = F.pad((y + reach) * wide + x + reach, (reach,) * 4, value=-1)  # P H+2r W+2r
    total = torch.zeros_like(padded[..., :height, :width])
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            there = index[:, reach + dy : reach + dy + height, reach + dx : reach + dx + width]
            moved = torch.where(there < 0, 0, there - (dy * wide + dx)).flatten(1)  # 0: a corner, outside
            total += _look_up(padded.flatten(2), moved, total.shape)
    return total[:, :channels] / total[:, channels:].clamp_min(1)


def soften(
    values: torch.Tensor, target: torch.Tensor, source: torch.Tensor, flow: torch.Tensor, settings: Attention
) -> torch.Tensor:
    """Source pictures as the target's frame shows them, by soft attention (CCDM Eq. 9), (P, C, H, W).

    The mean over the window around `flow`, weighed by softmax(-error / temperature). values: (P, C, H, W);
    target, source: guides of the finest level.
    """
    search = _Search(target, source, flow, settings)
    height, width = target.shape[-2:]
    total, weights = torch.zeros_like(values), torch.zeros_like(search.error)[:, None]
    for dx, dy, error in search.window(search.flow):
        # the flow is about the best of the window, so its error keeps the exponent small
        weight = ((search.error - error) / settings.temperature).clamp_max(50).exp()[:, None]
        x = (search.flow[:, 0] + search.own[0] + dx).clamp(0, width - 1)
        y = (search.flow[:, 1] + search.own[1] + dy).clamp(0, height - 1)
        total += weight * _look_up(values.flatten(2), (y * width + x).flatten(1), values.shape)
        weights += weight
    return total / weights


def confidence(aligned: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How far an aligned source can be believed, (P, 1, H, W) in 0..1, from guides (P, C, H, W).

    1 where the aligned guide equals the target's, falling once the error exceeds what is usual in that pair
    (its median, which is what noise leaves) or FIRM, whichever is more.
    """
    error = box_mean((aligned - target).square().mean(dim=1), JUDGED)
    step = max(1, error[0].numel() // SAMPLES)
    ordered = error.flatten(1)[:, ::step].sort(dim=1).values
    usual = ordered[:, ordered.shape[1] // 2, None, None]
    return torch.exp(-((error / (NOISE * usual).clamp_min(FIRM**2)) ** 2))[:, None]


def align(
    values: torch.Tensor,
    targets: Sequence[torch.Tensor],
    sources: Sequence[torch.Tensor],
    settings: Attention = HARD,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Source pictures (P, C, H, W) brought to where the targets have them, and their confidence (P, 1, H, W).

    targets, sources: pyramids of guides, coarsest first, the finest as large as the pictures.
    """
    flow = match(targets, sources, settings)
    both = torch.cat((values, sources[-1]), dim=1)
    if settings.temperature > 0:
        moved = soften(both, targets[-1], sources[-1], flow, settings)
    else:
        moved = vote(both, flow, settings.vote)
    channels = values.shape[1]
    return moved[:, :channels], confidence(moved[:, channels:], targets[-1])
