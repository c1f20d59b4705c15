"""Image prompts: mapper, picture encoder, word replacement, injected attention, one block, positions.

Runs inside the environment. Weights follow from their names.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from core.image_prompt.attach import Block, PromptState, attach_blocks
from core.image_prompt.attention import Picture, first_value, mixed
from core.image_prompt.layouts import read_image_prompt
from core.image_prompt.mapper import Mapper
from core.image_prompt.network import Place
from core.image_prompt.positions import picture_positions, sinusoids, video_positions
from core.image_prompt.vision import VisionConfig, VisionTower
from core.image_prompt.words import fitted, replace_word

from .. import torchvision_shim
from ..golden_weights import fill
from .finding import Finding, relative

SPREAD = 0.05  # of these files' norm weights
HEADS = 4  # of the picture encoder of a file that cuts its configuration off before it says
MIDDLE = "mid_block.attentions.0."  # where a transformer that is alone is put


def read_golden(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors."""
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    return about, load_file(path)


def weights_of(about: Mapping[str, str], shapes: Mapping | None = None) -> dict[str, Tensor]:
    """Filled weights by their names without the file's prefix; `shapes` where the file lists none."""
    prefix, seed = about["prefix"], int(about.get("seed", 0))
    if shapes is None:
        shapes = {key.removeprefix(prefix): shape for key, shape in json.loads(about["weights"]).items()}
    full = {prefix + key: tuple(shape) for key, shape in shapes.items()}
    return {key.removeprefix(prefix): weight for key, weight in fill(full, seed, SPREAD).items()}


def check_attention(path: Path) -> Iterator[Finding]:
    """`fF.v0_new`, `fF.y` with and `fF.y_no_exemplar` without a picture, for each number of frames F."""
    about, data = read_golden(path)
    heads, weights = int(about["heads"]), weights_of(about)

    def layer(x: Tensor, name: str) -> Tensor:
        return torch.nn.functional.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    for name in sorted({key.split(".")[0] for key in data}):
        frames = int(name[1:])
        clips = data[f"{name}.x"].unflatten(0, (-1, frames))
        parts = [layer(clips, part) for part in ("to_q", "to_k_new", "to_v_new")]
        first = data[f"{name}.exemplar"].unflatten(0, (len(clips), -1))[:, 0]
        pairs = [Picture(layer(x, "to_k_exemplar"), layer(x, "to_v_exemplar")) for x in first]
        sees, blind = torch.ones(frames, 1), torch.zeros(frames, 1)
        rows = list(zip(*parts, pairs, strict=True))
        values = [first_value(q[0], k[0], v[0], [pair], sees[0], heads) for q, k, v, pair in rows]
        yield Finding(f"{name}.v0_new", relative(torch.stack(values), data[f"{name}.v0_new"]))
        for key, weight in (("y", sees), ("y_no_exemplar", blind)):
            out = [mixed((q, k, v), [pair], weight, heads) for q, k, v, pair in rows]
            yield Finding(f"{name}.{key}", relative(layer(torch.cat(out), "to_out.0"), data[f"{name}.{key}"]))


def check_transformer(path: Path) -> Iterator[Finding]:
    """`y` of a clip that sees a picture, and `exemplar_y` of the picture's own branch."""
    torchvision_shim.install()
    from diffusers import Transformer2DModel

    about, data = read_golden(path)
    weights, frames = weights_of(about), data["x"].shape[2]
    heads, size = int(about["heads"]), int(about["dim_head"])
    context = data["ctx"].shape[2]
    model = Transformer2DModel(heads, size, heads * size, cross_attention_dim=context).eval()
    model.load_state_dict({key: weights[key] for key in model.state_dict()})
    prompt = read_image_prompt({MIDDLE + key: tensor for key, tensor in weights.items()})
    state = PromptState(frames=frames, capture={})
    place = Place(f"{MIDDLE}transformer_blocks.0", heads * size, context)
    attach_blocks(prompt, [Block(place, model.transformer_blocks[0])], state)

    def run(x: Tensor, text: Tensor) -> Tensor:
        rows = x.transpose(1, 2).flatten(0, 1)
        with torch.no_grad():
            y = model(rows, encoder_hidden_states=text.repeat_interleave(frames, 0)).sample
        return y.unflatten(0, (-1, frames)).transpose(1, 2)

    yield Finding("exemplar_y", relative(run(data["exemplar"], data["ctx_null"]), data["exemplar_y"]))
    clips = range(len(data["x"]))  # each with a picture of its own
    state.pictures, state.capture = state.capture, None
    state.weights = torch.eye(len(clips)).repeat_interleave(frames, 0)
    yield Finding("y", relative(run(data["x"], data["ctx"]), data["y"]))


def check_mapper(path: Path) -> Iterator[Finding]:
    """`tokens` of the feature maps `embN`."""
    about, data = read_golden(path)
    features = [data[name] for name in sorted(key for key in data if key.startswith("emb"))]
    weights = weights_of(about)
    hidden, source = weights["mapping_0.0.weight"].shape
    mapper = Mapper(len(features), source, hidden, data["tokens"].shape[2])
    read = read_image_prompt(weights).mapper.state_dict() if len(features) == 5 else weights
    mapper.load_state_dict(read)
    with torch.no_grad():
        yield Finding("tokens", relative(torch.stack(mapper(features), dim=1), data["tokens"]))


def check_vision(path: Path) -> Iterator[Finding]:
    """Every hidden state of a small CLIP picture encoder, and its output: the last of them, not normed."""
    about, data = read_golden(path)
    weights = {key.removeprefix("vision_model."): t for key, t in weights_of(about).items()}
    weights = {key: t for key, t in weights.items() if not key.startswith("post_layernorm.")}
    kernel = weights["embeddings.patch_embedding.weight"].shape
    layers = len({key.split(".")[2] for key in weights if key.startswith("encoder.layers.")})
    inner = weights["encoder.layers.0.mlp.fc1.weight"].shape[0]
    heads = re.search(r"'num_attention_heads': (\d+)", about["config"])
    config = VisionConfig(
        kernel[0], layers, int(heads[1]) if heads else HEADS, inner, kernel[-1], data["pixels"].shape[-1]
    )
    tower = VisionTower(config).eval()
    tower.load_state_dict(weights)
    with torch.no_grad():
        states = tower(data["pixels"])
    for number, ours in enumerate(states):
        yield Finding(f"hidden_states.{number}", relative(ours, data[f"hidden_states.{number}"]))
    yield Finding("out0_last_hidden_state", relative(states[-1], data["out0_last_hidden_state"]))


def check_words(path: Path) -> Iterator[Finding]:
    """Inputs of the text encoder after the replacement, and its outputs with and without it.

    Where the word is there twice the file records a mistake of the published code; there the inputs are
    compared with what replacing in the written-out text gives, and the outputs are not.
    """
    about, data = read_golden(path)
    encode, table = _text_encoder(about, weights_of(about))
    for case, word in json.loads(about["inj_index"]).items():
        ids, picture = data[f"{case}.input_ids"][0].tolist(), data[f"{case}.inj"][0]
        marks = [-1 - number for number in range(len(picture))]
        replaced = replace_word(ids, word, lambda _, marks=marks: marks)
        entries = fitted(replaced.entries, ids[-1], len(ids))
        rows = torch.stack([picture[-1 - e] if e < 0 else table[e] for e in entries])[None]
        plain = table[data[f"{case}.input_ids"]]
        yield Finding(f"{case}.last_hidden_plain", relative(encode(plain), data[f"{case}.last_hidden_plain"]))
        if replaced.count > 1:
            text = _in_text(ids, word, marks)
            wanted = torch.stack([picture[-1 - e] if e < 0 else table[e] for e in text[: len(ids)]])[None]
            yield Finding(f"{case}.inputs_embeds_after, corrected", relative(rows, wanted))
            continue
        yield Finding(f"{case}.inputs_embeds_after", relative(rows, data[f"{case}.inputs_embeds_after"]))
        yield Finding(f"{case}.last_hidden", relative(encode(rows), data[f"{case}.last_hidden"]))


def _in_text(ids: list[int], word: list[int], marks: list[int]) -> list[int]:
    """The replacement done on the numbers written one after the other."""
    text = "".join(f" {number} " for number in ids)
    text = text.replace("".join(f" {number} " for number in word), "".join(f" {number} " for number in marks))
    return [*map(int, text.split()), *[ids[-1]] * len(ids)]


def _text_encoder(about: Mapping[str, str], weights: dict[str, Tensor]):
    """Function: inputs 1 x T x C -> last hidden states, and the table of token embeddings."""
    torchvision_shim.install()
    from transformers import CLIPTextConfig, CLIPTextModel

    table = weights["text_model.embeddings.token_embedding.weight"]
    layers = len({key.split(".")[3] for key in weights if ".encoder.layers." in key})
    config = CLIPTextConfig(
        vocab_size=table.shape[0],
        hidden_size=table.shape[1],
        intermediate_size=weights["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=layers,
        num_attention_heads=int(re.search(r"(\d+) heads", about["config"])[1]),
        max_position_embeddings=weights["text_model.embeddings.position_embedding.weight"].shape[0],
        hidden_act="quick_gelu",
        bos_token_id=None,
        eos_token_id=0,
    )
    model = CLIPTextModel(config).eval()
    own = model.state_dict()
    named = {key: weights.get(key, weights.get(f"text_model.{key}")) for key in own}
    model.load_state_dict({key: named[key] if named[key] is not None else own[key] for key in own})
    given: list[Tensor] = []
    embedding = next(m for n, m in model.named_modules() if n.endswith("token_embedding"))
    embedding.register_forward_hook(lambda *_: given[0])

    def encode(rows: Tensor) -> Tensor:
        given[:] = [rows]
        with torch.no_grad():
            return model(torch.zeros(rows.shape[:2], dtype=torch.long)).last_hidden_state

    return encode, table


def check_positions(path: Path) -> Iterator[Finding]:
    """`image_CN_HxW`, `video_CN_HxW_fF` and `time_CN_fF` on the base grid that the file gives."""
    about, data = read_golden(path)
    base = tuple(map(int, re.fullmatch(r"H0=(\d+) W0=(\d+)", about["base_grid"]).groups()))
    for name, reference in data.items():
        channels, height, width, frames = (
            int(found[1]) if (found := re.search(rf"{mark}(\d+)", name)) else 0
            for mark in ("_C", "_(?=[0-9]+x)", r"[0-9]x", "_f")
        )
        if name.startswith("image_"):
            ours = picture_positions((height, width), base, channels)
        elif name.startswith("video_"):
            ours = video_positions((height, width), base, torch.arange(frames), channels)
        elif name.startswith("time_"):
            ours = sinusoids(torch.arange(frames), channels)
        else:
            continue
        yield Finding(name, relative(ours, reference))
