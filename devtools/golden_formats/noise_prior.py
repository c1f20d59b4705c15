"""The 3-D Gaussian noise prior (VCD Eq. 4): covariances, Cholesky factors, seeded samples, statistics."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from core import noise

from .finding import Finding, relative

EXACT = 1e-12  # for float64 quantities with a closed form


def our_cholesky(frames: int, gamma: float) -> torch.Tensor:
    """The (frames, frames) matrix by which our prior mixes independent frames: its answer to unit vectors."""
    return noise.correlate(torch.eye(frames, dtype=torch.float64), gamma)


def check_noise_prior(path: Path) -> Iterator[Finding]:
    """Covariances and Cholesky factors of each gamma, and samples from the normals stored beside them."""
    data = np.load(path)
    for key in data.files:
        matrix = re.fullmatch(r"(cov|chol)_g?(-?[\d.]+)", key)
        sample = re.fullmatch(r"sample_g(-?[\d.]+)_s(\d+)", key)
        if matrix:
            mixing = our_cholesky(len(data[key]), float(matrix[2]))
            yield Finding(
                key, relative(mixing if matrix[1] == "chol" else mixing @ mixing.T, data[key]), EXACT
            )
        elif sample:
            frames, *shape = data[key].shape
            drawn = torch.randn((*shape, frames), generator=noise.seeded(int(sample[2])))
            normals = data.get(f"eps_seed{sample[2]}", drawn)
            yield Finding(f"eps_seed{sample[2]}", relative(drawn, normals), 1e-6)
            ours = noise.correlate(torch.as_tensor(normals).movedim(-1, 0), float(sample[1]))
            yield Finding(key, relative(ours, data[key]), 1e-6)


def check_noise_statistics(path: Path) -> Iterator[Finding]:
    """Eigenvalues and log-determinant of our covariance, and the variance of differences and of means."""
    content = json.loads(path.read_text(encoding="utf-8"))
    frames = content["f"]
    for gamma, wanted in content["stats"].items():
        if not re.fullmatch(r"-?[\d.]+", gamma):
            continue  # what its maker measured of torch's sampler, not of the prior
        mixing = our_cholesky(frames, float(gamma))
        covariance = mixing @ mixing.T
        eigenvalues = torch.linalg.eigvalsh(covariance)
        ours = {
            "eig_min": eigenvalues[0],
            "eig_max": eigenvalues[-1],
            "cond": eigenvalues[-1] / eigenvalues[0],
            "logdet": 2 * mixing.diagonal().log().sum(),
            "cov_row0": covariance[0, : len(wanted["cov_row0"])],
            "frame_diff_var_lag1": covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1],
            "mean_frame_var": covariance.mean(),
            "lag1_corr": covariance[0, 1],
        }
        for name in ours.keys() & wanted.keys():
            yield Finding(f"{name} at gamma {gamma}", relative(ours[name], wanted[name]), 1e-9)
        yield from check_drawn_statistics(frames, float(gamma), wanted)


def check_drawn_statistics(frames: int, gamma: float, wanted: dict) -> Iterator[Finding]:
    """The covariance of as many positions as the file's own draw may not stray much farther than that did."""
    for name, reference in wanted.items():
        drawn = re.fullmatch(r"empirical_(\d+)x(\d+)x(\d+)_seed(\d+)", name)
        if not drawn:
            continue
        *shape, seed = (int(number) for number in drawn.groups())
        sample = noise.gaussian_prior(frames, tuple(shape), gamma, noise.seeded(seed)).flatten(1).double()
        mixing = our_cholesky(frames, gamma)
        error = (sample @ sample.T / sample.shape[1] - mixing @ mixing.T).square().mean().sqrt()
        yield Finding(f"drawn covariance at gamma {gamma}", float(error), 1.25 * reference["rms_err"])
