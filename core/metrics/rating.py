"""CCDM's flow rating in words, with what it cannot tell: a low one may be calm, or it may be ghosting."""

from dataclasses import dataclass

import torch

from ..optical_flow import Report, farneback_pairs
from .motion import FlowRating, flow_rating
from .quality import check_pair
from .sharpness import sharpness

NEAR = 0.1  # of the reference's mean flow
DETAIL = 0.85  # of the reference's sharpness
CAVEAT = (
    "A lower flow rating is not a better clip: averaging frames without aligning them lowers it most, and "
    "leaves ghosts. Read it beside sharpness, or give a reference."
)


@dataclass(frozen=True)
class Rating:
    """Flow rating and mean sharpness (variance of the Laplacian) of a clip, and of its reference if given."""

    flow: FlowRating
    sharpness: float
    reference_flow: FlowRating | None = None
    reference_sharpness: float | None = None

    @property
    def detail(self) -> float:
        """Sharpness in parts of the reference's; NaN without one, or where that is flat."""
        return self.sharpness / self.reference_sharpness if self.reference_sharpness else float("nan")

    def text(self) -> str:
        """All numbers in sentences, and what they warn of."""
        flow = self.flow
        lines = [
            f"Flow rating (Farneback): total {flow.total_px:.1f} px, mean {flow.mean_px:.4f} px a frame, "
            f"{flow.mean_over_diagonal:.4f} % of the diagonal, {flow.mean_over_max:.2f} % of the largest.",
            f"Sharpness (variance of the Laplacian): {self.sharpness:.1f}.",
        ]
        return "\n".join(lines + (self._compared() if self.reference_flow else [CAVEAT]))

    def _compared(self) -> list[str]:
        """What differs from the reference."""
        wanted = self.reference_flow.mean_px
        lines = [f"The reference: mean {wanted:.4f} px a frame, sharpness {self.reference_sharpness:.1f}."]
        if self.flow.mean_px < (1 - NEAR) * wanted:
            lines.append("Warning: less flow than the reference. This may be ghosting or frozen motion.")
        elif self.flow.mean_px > (1 + NEAR) * wanted:
            lines.append("Warning: more flow than the reference. This may be flicker.")
        else:
            lines.append("The flow is within 10 % of the reference's.")
        if self.detail < DETAIL:
            share = f"{self.detail:.0%} of the reference's sharpness"
            lines.append(f"Warning: {share}. This may be ghosting or blur.")
        return lines


def rate(frames: torch.Tensor, reference: torch.Tensor | None = None, report: Report | None = None) -> Rating:
    """Rate a clip (F, H, W, 3), uint8 or 0..1, F >= 2, beside a reference of as many frames where given.

    report(done, total): called after each pair of frames; may raise to stop.
    """
    if reference is None:
        return Rating(flow_rating(farneback_pairs(frames, report=report)), float(sharpness(frames).mean()))
    check_pair(frames, reference)
    if len(reference) != len(frames):
        raise ValueError(
            f"The clip has {len(frames)} frames, the reference {len(reference)}; expected as many."
        )

    def stage(number: int) -> Report | None:
        return report and (lambda done, pairs: report(number * pairs + done, 2 * pairs))

    flows = [
        flow_rating(farneback_pairs(clip, report=stage(i))) for i, clip in enumerate((frames, reference))
    ]
    details = [float(sharpness(clip).mean()) for clip in (frames, reference)]
    return Rating(flows[0], details[0], flows[1], details[1])
