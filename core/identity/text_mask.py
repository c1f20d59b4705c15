"""Subject masks from words: transformers' Grounding DINO for the box and SAM for the mask, as in VCD.

Both are read from local folders only, in the layout of `save_pretrained`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..optical_flow import to_bytes

BOX_THRESHOLD, TEXT_THRESHOLD = 0.3, 0.25  # VCD's
PROCESSORS = ("preprocessor_config.json", "processor_config.json")  # the older and the newer name


def check_folder(folder: str | Path, kind: str) -> Path:
    """The folder as a path; raises ValueError unless it holds a model of transformers of that kind."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(f"'{folder.name}' holds no {kind} in transformers' layout: config.json is missing")
    if not any((folder / name).is_file() for name in PROCESSORS):
        raise ValueError(f"'{folder.name}' holds no {kind} with its processor: {PROCESSORS[0]} is missing")
    text = (folder / "config.json").read_text(encoding="utf-8")
    if f'"{kind}"' not in text:
        raise ValueError(f"'{folder.name}/config.json' is not of a {kind} model")
    return folder


class TextMasker:
    """Grounding DINO and SAM, loaded once for several images."""

    def __init__(self, dino: str | Path, sam: str | Path):
        """Read both from their folders, on the CPU. Raises ValueError when one is of another kind."""
        from transformers import (
            AutoModelForZeroShotObjectDetection,
            AutoProcessor,
            SamModel,
            SamProcessor,
        )

        dino, sam = check_folder(dino, "grounding-dino"), check_folder(sam, "sam")
        self.device = torch.device("cpu")
        local = {"local_files_only": True}
        self.finder = AutoModelForZeroShotObjectDetection.from_pretrained(dino, **local).eval()
        self.finder_input = AutoProcessor.from_pretrained(dino, **local)
        self.cutter = SamModel.from_pretrained(sam, **local).eval()
        self.cutter_input = SamProcessor.from_pretrained(sam, **local)

    def to(self, device: torch.device) -> TextMasker:
        """Move both to a device; returns self."""
        self.device = device
        self.finder.to(device)
        self.cutter.to(device)
        return self

    @torch.no_grad()
    def box(self, image: Image.Image, text: str, threshold: float = BOX_THRESHOLD) -> list[float] | None:
        """Left, top, right, bottom of the best find of a text in an image; None when there is none."""
        words = text.strip().lower().rstrip(".") + "."
        given = self.finder_input(images=image, text=words, return_tensors="pt").to(self.device)
        answer = self.finder(**given)
        (found,) = self.finder_input.post_process_grounded_object_detection(
            answer, given.input_ids, threshold=threshold, text_threshold=TEXT_THRESHOLD,
            target_sizes=[image.size[::-1]],
        )  # fmt: skip
        best = found["scores"].argmax() if len(found["scores"]) else None
        return None if best is None else found["boxes"][best].tolist()

    @torch.no_grad()
    def mask(self, image: Image.Image, box: list[float]) -> Tensor:
        """The mask (H, W) float32 that SAM rates best for a box."""
        given = self.cutter_input(image, input_boxes=[[box]], return_tensors="pt").to(self.device)
        answer = self.cutter(**given)
        sizes = given["original_sizes"].cpu(), given["reshaped_input_sizes"].cpu()
        (masks,) = self.cutter_input.image_processor.post_process_masks(answer.pred_masks.cpu(), *sizes)
        return masks[0, answer.iou_scores[0, 0].argmax().cpu()].float()


def masks_by_text(
    images: Tensor,
    text: str,
    masker: TextMasker,
    threshold: float = BOX_THRESHOLD,
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Masks (N, H, W) of what a text names in images (N, H, W, 3), 0..1; empty where it is not found.

    report(done, total) is called after each image.
    """
    masks = []
    for image in images:
        picture = Image.fromarray(to_bytes(image[None])[0])
        box = masker.box(picture, text, threshold)
        masks.append(torch.zeros(images.shape[1:3]) if box is None else masker.mask(picture, box))
        if report is not None:
            report(len(masks), len(images))
    return torch.stack(masks)
