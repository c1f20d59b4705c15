"""The command line's recipes for image prompts: draw subjects, train the encoder and the stages, measure."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from ..data.scene import SIZE
from ..data.subject_records import read_records, sprite_records
from ..files import write_text, write_weights
from ..image_prompt.layouts import read_image_prompt, save_image_prompt
from ..image_prompt.vision import standardized
from . import autoencoder
from .image_prompt import (
    COARSE,
    STAGES,
    PromptBatch,
    PromptFamily,
    make_prompt,
    take_over,
    train_image_prompt,
)
from .image_prompt_report import measure, table
from .latents import encode_images
from .picture_encoder import MAPPER, train_picture_encoder
from .subjects import PICTURE_SIZE, encode_records, read_subjects, write_subjects

VISION, PROMPT, REPORT = "vision.safetensors", "image_prompt.safetensors", "image_prompt.md"


def add_options(parser) -> None:
    """The options that these recipes have besides the common ones."""
    parser.add_argument("--subjects", type=Path, nargs="+", help="finished subjects runs")
    parser.add_argument("--records", type=Path, help="subjects: a dataset.jsonl of real clips")
    parser.add_argument("--prompt", type=Path, help="run with the vision encoder or an earlier stage")
    parser.add_argument("--stage", choices=STAGES, default=COARSE, help="image_prompt: what is trained")
    parser.add_argument("--positions", action="store_true", help="image_prompt: with trained positions")
    parser.add_argument("--drop", type=float, default=0.1, help="image_prompt: share without prompt")


def subjects(options) -> None:
    """`subjects`: a folder of encoded clips and pictures."""
    encoder, _ = autoencoder.load(options.autoencoder, options.device)
    if options.records:
        found = read_records(options.records, options.frames, (SIZE, SIZE), seed=options.seed)
    else:
        found = sprite_records(options.clips, options.frames, options.seed)
    data = encode_records(found, lambda images: encode_images(encoder, images), SIZE, PICTURE_SIZE, _say)
    write_subjects(options.folder, data)


def _say(done: int) -> None:
    if done % 100 == 0:
        print(f"{done} clips", flush=True)


def vision(options, plan) -> None:
    """`vision`: the picture encoder's weights."""
    tower = train_picture_encoder(read_subjects(*options.subjects), plan, device=options.device)
    write_weights(tower, options.folder / VISION)


def image_prompt(options, plan, family) -> None:
    """`image_prompt`: one stage; the file that 'Load Image Prompt Model' reads."""
    prompt = _start(options, family)
    prompted, batch = PromptFamily(family, prompt), PromptBatch(options.clips, options.frames, options.drop)
    weights = train_image_prompt(prompted, read_subjects(*options.subjects), plan, options.stage, batch)
    prompt.load_state_dict(weights)
    trained = {"stage": options.stage, "steps": options.steps, "positions": options.positions}
    save_image_prompt(prompt.half(), options.folder / PROMPT, {"training": trained})


def _start(options, family):
    """A model to train: with the encoder's weights alone, or all of an earlier stage. Raises ValueError."""
    if options.prompt is None:
        raise ValueError("Give --prompt RUN: the vision run, or that of an earlier stage")
    torch.manual_seed(options.seed)
    name = f"choreographer_demo_{options.stage}"
    prompt = make_prompt(family.unet, MAPPER, options.stage, options.positions, name)
    if (options.prompt / PROMPT).exists():
        take_over(prompt, read_image_prompt(options.prompt / PROMPT).float())
    else:
        prompt.vision.load_state_dict(load_file(options.prompt / VISION))
    return prompt


def report(options, family, clips: int = 64) -> str:
    """`image_prompt_report`: the table, also written into the folder."""
    prompt = read_image_prompt(options.prompt / PROMPT).float().eval()
    data, prompted = read_subjects(*options.subjects), PromptFamily(family, prompt)
    decoder = autoencoder.load(options.autoencoder, options.device)[1]

    def decode(clip):
        with torch.inference_mode():
            return decoder(clip.to(options.device)).clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy()

    def features(pictures):
        with torch.inference_mode():
            return prompt.vision(standardized(pictures.to(options.device)))[-1][:, 0].float().cpu()

    ways = ("text only", "coarse", "coarse and fine") if prompt.config.fine else ("text only", "coarse")
    scores = measure(prompted, data, decode, features, ways, clips, options.frames, options.seed)
    found = table(scores)
    write_text(found, options.folder / REPORT)
    return found
