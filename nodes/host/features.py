"""Feature nets of the host: a CLIP_VISION, or a folder of the transformers library in models/clip_vision."""

from __future__ import annotations

import comfy.model_management
from torch import Tensor

from ...core.metrics.feature_nets import FolderFeatures
from ...core.metrics.features import Features, FeatureScores, score
from .masks import find_folder, model_folders
from .progress import check_interrupt, reporter

KIND, NONE = "clip_vision", "none"


def feature_folders() -> list[str]:
    """What the node lists: no folder, or one by its name."""
    return [NONE, *model_folders(KIND)]


def vision_features(clip_vision) -> Features:
    """The stock loader's CLIP_VISION as a feature net: image_embeds, of CLIP, SigLIP or DINOv2."""

    def net(images: Tensor) -> Tensor:
        check_interrupt()
        return clip_vision.encode_image(images, crop="center")["image_embeds"].float().cpu()

    return net


def feature_scores(
    frames: Tensor, clip_vision=None, folder: str = NONE, references: Tensor | None = None, prompt: str = ""
) -> FeatureScores | None:
    """Scores of a clip (F, H, W, 3) by the folder's net, else the CLIP_VISION; None without either.

    Raises ValueError for references or a prompt that nothing can be compared by.
    """
    prompt = prompt.strip()
    if folder == NONE and prompt:
        raise ValueError(
            "A prompt is compared by a whole CLIP model: choose its folder as feature_folder; a CLIP_VISION "
            "has no text half"
        )
    if folder == NONE and clip_vision is None:
        if references is not None:
            raise ValueError("References are compared by features: connect clip_vision, or choose a folder")
        return None
    if folder == NONE:
        return score(vision_features(clip_vision), frames, references, report=reporter())
    net = FolderFeatures(find_folder(KIND, folder), comfy.model_management.get_torch_device())
    text = net.text(prompt) if prompt else None
    return score(net, frames, references, text, report=reporter())
