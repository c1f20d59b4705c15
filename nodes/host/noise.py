"""NOISE objects for the host's samplers, and LATENTs that already carry their noise.

A NOISE is anything with `seed` and `generate_noise(latent) -> noise`; `SamplerCustomAdvanced` hands it the
LATENT dict. The whole batch of a latent is one clip: latent i is frame i, or frame `batch_index[i]` where the
host says which frames of a longer clip these are. So a part cut out of a clip gets the noise those frames had
in the whole clip.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import comfy.sample
import torch

from ...core.freeinit import low_pass, reinitialise
from ...core.noise import NoiseLayout, check_gamma, check_ratio, gaussian_prior, normals, seeded, turned
from ...core.trajectory.moving_noise import Layers, moving_noise
from ...core.trajectory.sample import sample
from ...core.trajectory.track import Trajectories

LATENT_SCALE = 8  # pixels a latent, Stable Diffusion 1.5
OWN_STREAM = 0x5DEECE66D1CE4E5B  # takes a seed far from those that users give


@dataclass(frozen=True)
class ClipNoise:
    """Noise of a clip; `draw(frames, shape)` gives (frames, *shape), beginning alike for every length."""

    seed: int
    draw: Callable[[int, tuple[int, ...]], torch.Tensor]

    def generate_noise(self, latent: dict) -> torch.Tensor:
        """Noise in the shape and dtype of latent["samples"], (F, C, h, w), on the CPU."""
        samples = latent["samples"]
        if samples.is_nested:
            raise ValueError(
                "The latent is nested (several streams); a clip's noise needs one (frames, C, h, w)."
            )
        places = latent.get("batch_index")
        if places is None:
            places = range(samples.shape[0])
        places = [int(place) for place in places]
        if len(places) != samples.shape[0] or min(places) < 0:
            raise ValueError(f"The latent has {samples.shape[0]} frames, its batch_index says {places}.")
        noise = self.draw(max(places) + 1, tuple(samples.shape[1:]))
        return noise[places].to(samples.dtype)


def prior_noise(seed: int, gamma: float) -> ClipNoise:
    """3-D Gaussian prior as a NOISE; gamma in [-1, 1] is the correlation of neighbouring frames."""
    check_gamma(gamma)
    return ClipNoise(seed, lambda frames, shape: gaussian_prior(frames, shape, gamma, seeded(seed)))


def noise_along(trajectories: Trajectories, frames: int, seed: int, layers: Layers) -> ClipNoise:
    """Noise that goes with the objects of trajectories spread over `frames` frames, as a NOISE.

    Raises ValueError when it is asked for more frames, or when a track does not fit into the clip.
    """
    sample(trajectories, frames, (LATENT_SCALE, LATENT_SCALE))  # whatever is wrong with a track is said now

    def draw(asked: int, shape: tuple[int, ...]) -> torch.Tensor:
        if asked > frames:
            raise ValueError(
                f"Noise Along Tracks: the latent has {asked} frames, the trajectories are spread over "
                f"{frames}: give both the same number"
            )
        _, height, width = shape
        tracks = sample(trajectories, frames, (width * LATENT_SCALE, height * LATENT_SCALE))
        return moving_noise(tracks, shape, seed, layers)[:asked]

    return ClipNoise(seed, draw)


def layout_noise(seed: int, layout: NoiseLayout) -> ClipNoise:
    """A noise layout as a NOISE."""
    return ClipNoise(seed, lambda frames, shape: layout.draw(frames, shape, seed))


@dataclass(frozen=True)
class TurnedNoise:
    """Two NOISE objects in one: `core.noise.turned` of what they give."""

    seed: int
    ratio: float
    base: object
    residual: object

    def generate_noise(self, latent: dict) -> torch.Tensor:
        """Noise in the shape and dtype of latent["samples"]; raises ValueError when their shapes differ."""
        base, residual = self.base.generate_noise(latent), self.residual.generate_noise(latent)
        if base.shape != residual.shape:
            raise ValueError(
                f"The base noise is {tuple(base.shape)}, the residual is {tuple(residual.shape)}: both must "
                "be made for the same latent"
            )
        return turned(base.float(), residual.float().to(base.device), self.ratio).to(base.dtype)


def turned_noise(seed: int, ratio: float, base=None, residual=None) -> TurnedNoise:
    """Base and residual as a NOISE; by default one noise for all frames, and independent frames.

    Beside a given noise, which may well have the same seed, the default is drawn from a stream of its own:
    two equal frames would add up to more than unit variance.
    """
    check_ratio(ratio)
    own = seed if base is None and residual is None else seed ^ OWN_STREAM
    base = base or layout_noise(own, NoiseLayout("shared"))
    return TurnedNoise(seed, ratio, base, residual or layout_noise(own + 1, NoiseLayout("per-frame seeds")))


@dataclass(frozen=True)
class FreeInitNoise:
    """Low frequencies of a finished clip that was noised again, high ones of new noise (`core.freeinit`).

    noised: (F, C, h, w) float32 on the CPU, of unit variance where the clip is white; weights: (F, h, w).
    """

    seed: int
    noised: torch.Tensor
    weights: torch.Tensor

    def generate_noise(self, latent: dict) -> torch.Tensor:
        """Noise in the shape and dtype of latent["samples"]; ValueError where the clip has another shape."""
        samples = latent["samples"]
        if samples.shape != self.noised.shape:
            raise ValueError(
                f"FreeInit Noise was made from a clip of {tuple(self.noised.shape)}, the latent to sample is "
                f"{tuple(samples.shape)}: both passes must have the same size and length"
            )
        own = seeded(self.seed ^ OWN_STREAM)  # not the first pass's noise again, should the seeds be equal
        fresh = normals(len(samples), tuple(samples.shape[1:]), own)
        return reinitialise(self.noised, fresh, self.weights).to(samples.dtype)


def freeinit_noise(
    model, seed: int, clip: dict, noise, kind: str, cutoff_space: float, cutoff_time: float
) -> FreeInitNoise:
    """The noise of a second pass, from the clip of the first and its noise (FreeInit Eq. 6 to 9).

    The clip is noised to the highest sigma s as the model noises: x = (z + s e) / sqrt(1 + s^2).
    Raises ValueError for a latent that is not (F, C, h, w), or cutoffs outside (0, 1].
    """
    samples = clip["samples"]
    if samples.is_nested or samples.ndim != 4:
        raise ValueError("FreeInit Noise takes a clip with one latent a frame, (frames, C, h, w).")
    samples = samples.float().cpu()
    weights = low_pass((len(samples), *samples.shape[-2:]), kind, cutoff_space, cutoff_time)
    drawn = noise.generate_noise({**clip, "samples": samples}).float()
    sigma = float(model.get_model_object("model_sampling").sigma_max)
    picture = model.get_model_object("process_latent_in")(samples)
    return FreeInitNoise(seed, (picture + sigma * drawn) / (1 + sigma * sigma) ** 0.5, weights)


def _starts_at_maximum(model_sampling, sigma: float) -> bool:
    """Whether the host's samplers take this sigma for pure noise, scaled by sqrt(1 + sigma^2)."""
    highest = float(model_sampling.sigma_max)
    return sigma > highest or math.isclose(sigma, highest, rel_tol=1e-5)


def noised_latent(model, noise, sigmas: torch.Tensor, latent: dict) -> dict:
    """Noise a LATENT, so that `KSamplerAdvanced` with add_noise "disable" samples as if it drew `noise`.

    A sampler starts at x = s noise + in(latent), s being sigma, or sqrt(1 + sigma^2) at the highest sigma,
    and `in` the latent format's scaling. Without noise it starts at in(samples). So this gives out(x), `out`
    undoing `in`: the same start up to the rounding of one multiplication and one division (about 1e-7).

    Raises ValueError for empty sigmas, a noise mask (the sampler would take the noise for picture), or a
    model whose samplers scale a latent as well as its noise.
    """
    if len(sigmas) == 0:
        raise ValueError("SIGMAS is empty (denoise is 0), so there is no first sigma to add noise for.")
    if "noise_mask" in latent:
        raise ValueError(
            "The latent has a noise mask, which needs the latent without noise: use 'Noise Prior KSampler'."
        )
    sampling = model.get_model_object("model_sampling")
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    drawn = noise.generate_noise({**latent, "samples": samples}).to(torch.float32)
    sigma = sigmas[0].to(torch.float32).cpu()
    whole = _starts_at_maximum(sampling, float(sigma))
    probe = torch.ones_like(drawn)
    if not torch.equal(sampling.noise_scaling(sigma, torch.zeros_like(drawn), probe, whole), probe):
        raise ValueError(
            "This model's samplers scale a latent by its noise level: use 'SamplerCustomAdvanced'."
        )
    picture = samples.to(drawn)
    if torch.count_nonzero(picture) > 0:  # the host leaves an empty latent as it is
        picture = model.get_model_object("process_latent_in")(picture)
    start = sampling.noise_scaling(sigma, drawn, picture, whole)
    return {**latent, "samples": model.get_model_object("process_latent_out")(start)}
