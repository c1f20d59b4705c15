"""FreeInit (Wu et al. 2023): start again from the low frequencies of a finished clip and fresh high ones.

A first pass gives a clip; it is noised again to the first sigma; its low space-time frequencies replace those
of new noise, and a second pass starts there. Motion and layout of the clip become steadier. This file is the
mixing step.
"""

import torch

FILTERS = ("butterworth", "gaussian")


def low_pass(
    size: tuple[int, int, int],
    kind: str = "butterworth",
    cutoff_space: float = 0.25,
    cutoff_time: float = 0.25,
    order: int = 4,
) -> torch.Tensor:
    """Low-pass weights H of a 3-D FFT, (F, h, w) float32 in [0, 1], unshifted order (frequency 0 first).

    Frequencies are normalised to the Nyquist frequency of their axis. A cutoff in (0, 1] is where the
    Butterworth filter of that order has fallen to 1/2 (the Gaussian: to exp(-1/2)). Defaults are the paper's.
    """
    if kind not in FILTERS:
        raise ValueError(f"Filter is {kind!r}, expected one of {FILTERS}.")
    for name, value in (("cutoff_space", cutoff_space), ("cutoff_time", cutoff_time)):
        if not 0.0 < value <= 1.0:
            raise ValueError(
                f"{name} is {value}, expected more than 0 and at most 1 (the Nyquist frequency)."
            )
    if order < 1:
        raise ValueError(f"Filter order is {order}, expected at least 1.")
    time, row, column = (2 * torch.fft.fftfreq(n, dtype=torch.float64) for n in size)
    distance = (
        (time / cutoff_time)[:, None, None] ** 2
        + (row / cutoff_space)[None, :, None] ** 2
        + (column / cutoff_space)[None, None, :] ** 2
    )  # squared, in cutoffs
    weights = (-distance / 2).exp() if kind == "gaussian" else 1 / (1 + distance**order)
    return weights.float()


def reinitialise(
    noised: torch.Tensor, fresh: torch.Tensor, weights: torch.Tensor, unit_variance: bool = True
) -> torch.Tensor:
    """Low frequencies of `noised`, high frequencies of `fresh` (FreeInit Eq. 7-9), (F, C, h, w).

    noised, fresh: (F, C, h, w), both scaled to unit variance. weights: H, (F, h, w), from `low_pass`.
    unit_variance: weigh the fresh part by sqrt(1 - H^2), so that two white inputs give a white result; False
    weighs it by the paper's 1 - H, which loses variance where H is between 0 and 1.
    """
    if noised.shape != fresh.shape:
        raise ValueError(f"The noised clip is {tuple(noised.shape)}, the fresh noise {tuple(fresh.shape)}.")
    frames, _, height, width = noised.shape
    if tuple(weights.shape) != (frames, height, width):
        raise ValueError(f"Filter is {tuple(weights.shape)}, the clip needs {(frames, height, width)}.")
    low = weights[:, None].to(noised.device)  # F 1 h w
    high = (1 - low * low).sqrt() if unit_variance else 1 - low
    axes = (0, 2, 3)
    spectrum = low * torch.fft.fftn(noised.float(), dim=axes) + high * torch.fft.fftn(fresh.float(), dim=axes)
    return torch.fft.ifftn(spectrum, dim=axes).real.to(noised.dtype)
