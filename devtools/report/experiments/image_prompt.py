"""Pictures as prompts: with and without, positions on and off, coarse to fine against joint training."""

from __future__ import annotations

from ..cache import frames_of
from ..context import BASE
from ..rows import Experiment, Made, Row

FOLDER = "image_prompt_models"
MAIN = f"{FOLDER}/choreographer_demo_image_prompt.safetensors"
JOINT = f"{FOLDER}/choreographer_demo_image_prompt_joint.safetensors"
FRAMES = 16  # as trained: with fewer the attention sees other neighbours than it has learnt


def _prepare(*files: str):
    """A function that reads the models of some files beside the demo's parts."""

    def prepare(context):
        from ..family import Parts

        parts = Parts(context)
        from choreographer.core.image_prompt.layouts import read_image_prompt

        return parts, [read_image_prompt(context.file(file)).float().eval() for file in files]

    return prepare


def subject(parts, seed: int):
    """One clip of the sprite world with its subject's pictures, encoded."""
    from choreographer.core.data.scene import SIZE
    from choreographer.core.data.subject_records import sprite_records
    from choreographer.core.training.subjects import PICTURE_SIZE, encode_records

    return encode_records(sprite_records(1, FRAMES, seed), parts.encode, SIZE, PICTURE_SIZE)


def scores(parts, prompt, seed: int, ways) -> tuple[dict, dict]:
    """Figures and strips of a model in some ways to be told of one subject."""
    import torch
    from choreographer.core.image_prompt.vision import standardized
    from choreographer.core.training.image_prompt import PromptFamily
    from choreographer.core.training.image_prompt_report import measure

    seen = []

    def decode(clip):
        seen.append(parts.decode(clip))
        return seen[-1]

    def features(pictures):
        with torch.inference_mode():
            return prompt.vision(standardized(pictures.to(parts.device)))[-1][:, 0].float().cpu()

    family = PromptFamily(parts.family(), prompt)
    try:
        found = measure(family, subject(parts, seed), decode, features, ways, 1, FRAMES, seed)
    finally:
        family.remove()
    strips = {way: frames_of(images) for way, images in zip(found, seen, strict=True)}
    return {way: vars(one) for way, (one,) in found.items()}, strips


def measure_ways(ready, seed: int) -> Made:
    """Told by text alone, by the picture in the prompt, in the attention too, and there without positions."""
    from choreographer.core.training.image_prompt_report import FINE, WAYS

    parts, (prompt,) = ready
    figures, strips = scores(parts, prompt, seed, WAYS)
    own, strip = scores(parts, without_positions(prompt), seed, (FINE,))
    return Made({**figures, "no positions": own[FINE]}, {**strips, "no positions": strip[FINE]})


def without_positions(prompt):
    """A copy of a model whose trained gains of the positions are 0."""
    import copy

    import torch

    without = copy.deepcopy(prompt)
    with torch.no_grad():
        for name, weight in without.named_parameters():
            if "gain" in name:
                weight.zero_()
    return without


def measure_stages(ready, seed: int) -> Made:
    """The coarse path alone, and all of it, of a model trained coarse to fine and of one trained jointly."""
    from choreographer.core.training.image_prompt_report import COARSE, FINE

    figures, strips = {}, {}
    parts, prompts = ready
    for name, prompt in zip(("staged", "joint"), prompts, strict=True):
        own, strip = scores(parts, prompt, seed, (COARSE, FINE))
        for way in own:
            figures[f"{name}, {way}"], strips[f"{name}, {way}"] = own[way], strip[way]
    return Made(figures, strips)


_MODEL = {**BASE, "image prompt model": MAIN}
EXPERIMENTS = (
    Experiment("image_prompt", "3", _MODEL, (6, 64), 48, _prepare(MAIN), measure_ways),
    Experiment("image_prompt_stages", "3", {**_MODEL, "jointly trained image prompt model": JOINT}, (6, 64),
               48, _prepare(MAIN, JOINT), measure_stages),
)  # fmt: skip

_HOW = "the same subjects, captions and noise; cosine of the picture encoder's features of picture and sprite"
ROWS = (
    Row("picture_coarse", "Image prompts", "The picture in the prompt brings the subject", _HOW,
        "shown as pictures", "image_prompt", "likeness", "coarse", "text only", 1),
    Row("picture_fine", "Image prompts", "The picture in the attention brings more of it", _HOW,
        "shown as pictures", "image_prompt", "likeness", "coarse and fine", "coarse", 1),
    Row("picture_looks", "Image prompts", "Colour and shape are the picture's",
        "the same clips; share of both that is right", "not reported", "image_prompt", "looks",
        "coarse and fine", "text only", 1),
    Row("picture_text", "Image prompts", "What it costs of the caption",
        "the same clips; share of shape and direction that is right", "not reported", "image_prompt",
        "caption", "coarse and fine", "text only", 0),
    Row("picture_positions", "Image prompts", "Position encoding improves the result",
        f"{_HOW}; trained gains against gains of 0", "CLIP score 25.69 without, 25.7049 with",
        "image_prompt", "likeness", "coarse and fine", "no positions", 1),
    Row("picture_joint", "Image prompts", "Joint training makes the coarse path useless",
        f"{_HOW}; coarse path alone, trained coarse to fine against jointly", "shown as pictures",
        "image_prompt_stages", "likeness", "staged, coarse", "joint, coarse", 1),
    Row("picture_staged", "Image prompts", "Coarse to fine is better than joint in all",
        f"{_HOW}; both paths", "shown as pictures", "image_prompt_stages", "likeness",
        "staged, coarse and fine", "joint, coarse and fine", 1),
)  # fmt: skip
