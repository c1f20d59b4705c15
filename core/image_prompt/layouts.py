"""Image prompt files: the published mapper (with or without attention weights), its video UNet, our own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from torch import Tensor, nn

from ..files import read_weights, unwrap, write_weights
from ..motion.detect import TITLES, detect_layout
from ..motion.layouts import OWN
from .names import by_place, named, numbered
from .network import LAYERS, ImagePrompt, ImagePromptConfig, MapperConfig, Place
from .vision import VisionConfig

KIND = "image prompt"
NULL_TEXT = "None"  # what the published weights were trained with in place of a prompt


def read_image_prompt(source, video=None, ops=nn, device=None, dtype=None, groups: int = 32) -> ImagePrompt:
    """Read an image prompt model from a path or a state dict.

    Knows the published mapper alone, with its cross-attention (stage 1) and with all attention weights
    (stage 2), a whole published UNet, and our own files. `video` is the published video UNet, of which the
    temporal attention and the watermark module (norms in `groups` groups) are taken. Layers come from `ops`,
    weights go to `device` and `dtype`. Raises ValueError naming the first keys that differ.
    """
    state, metadata, name = _read(source)
    own = json.loads(metadata.get(OWN, "{}"))
    if own.get("kind") == KIND:
        if video is not None:
            raise ValueError(f"'{name}' needs no video UNet: leave it out")
        weights, config = state, _own_config(own["config"])
    else:
        weights = named(state)
        if not weights:
            raise ValueError(_refusal(name, state))
        weights = {**(_video_parts(video) if video is not None else {}), **weights}
        config = _config(weights, name, groups)
    model, found = ImagePrompt(config, ops=ops, device="meta"), numbered(weights, config)
    _check(found, model.state_dict(), name)
    model.load_state_dict({key: t.to(device=device, dtype=dtype) for key, t in found.items()}, assign=True)
    return model


def save_image_prompt(model: ImagePrompt, path, metadata: Mapping | None = None) -> None:
    """Write a model under our names; its configuration and `metadata` (JSON values) go into the metadata."""
    state = by_place(model.state_dict(), model.config)
    text = json.dumps({**(metadata or {}), "kind": KIND, "config": asdict(model.config)})
    write_weights(state, path, {"format": "pt", OWN: text})


def _read(source) -> tuple[dict[str, Tensor], Mapping[str, str], str]:
    """Tensors, metadata and name of a path or a state dict."""
    if isinstance(source, Mapping):
        return unwrap(dict(source)), {}, "the state dict"
    return *read_weights(source), Path(source).name


def _refusal(name: str, state: Mapping[str, Tensor]) -> str:
    looks = TITLES.get(detect_layout(state))
    return (
        f"'{name}' is not an image prompt model: expected keys such as mapping_0.0.weight, "
        f"got {', '.join(list(state)[:3])}" + (f"; it looks like {looks}" if looks else "")
    )


def _video_parts(video) -> dict[str, Tensor]:
    """Temporal attention and watermark module of a published video UNet."""
    state, _, name = _read(video)
    parts = {key: t for key, t in named(state).items() if "/temporal." in key or key.startswith("cleaner.")}
    if not parts:
        raise ValueError(f"'{name}' is not a video UNet for image prompts: it has no temporal attention")
    return parts


def _config(weights: Mapping[str, Tensor], name: str, groups: int) -> ImagePromptConfig:
    """The configuration that shapes show."""
    levels = {
        int(match[1]): tensor.shape[0]
        for key, tensor in weights.items()
        if (match := re.fullmatch(r"cleaner\.down/(\d+)\.resnets\.0\.conv1\.weight", key))
    }
    layers = {key.split(".")[3] for key in weights if key.startswith("cleaner.down/0.resnets.")}
    return ImagePromptConfig(
        places=_places(weights),
        mapper=_mapper(weights, name),
        text=any("/text." in key for key in weights),
        fine=any("/picture." in key for key in weights),
        temporal=any("/temporal." in key for key in weights),
        cleaner=tuple(levels[level] for level in sorted(levels)),
        cleaner_layers=len(layers),
        cleaner_groups=groups,
        null_text=NULL_TEXT,
        name=name,
    )


def _mapper(weights: Mapping[str, Tensor], name: str) -> MapperConfig | None:
    features = len({key.split(".")[2] for key in weights if key.startswith("mapper.whole.")})
    if not features:
        return None
    first, last = (weights.get(f"mapper.whole.0.{layer}.weight") for layer in (0, 6))
    if first is None or last is None or features != len(LAYERS):
        raise ValueError(
            f"'{name}' has a mapper for {features} feature maps, expected {len(LAYERS)} with 3 layers each"
        )
    return MapperConfig(first.shape[1], first.shape[0], last.shape[0])


def _places(weights: Mapping[str, Tensor]) -> tuple[Place, ...]:
    """The places in the order of the file, with the widths that their weights show."""
    channels, context = {}, {}
    for key, tensor in weights.items():
        name, slash, part = key.partition("/")
        if slash and part.endswith((".k.weight", ".norm.weight")):
            channels.setdefault(name, tensor.shape[0])
        if part == "text.k.weight":
            context[name] = tensor.shape[1]
    return tuple(Place(name, width, context.get(name, 0)) for name, width in channels.items())


def _own_config(values: Mapping) -> ImagePromptConfig:
    """The configuration from the metadata of a file of ours."""
    mapper = values["mapper"]
    if mapper is not None:
        vision = VisionConfig(**mapper["vision"]) if mapper["vision"] else None
        mapper = MapperConfig(**{**mapper, "layers": tuple(mapper["layers"]), "vision": vision})
    places, cleaner = tuple(Place(**place) for place in values["places"]), tuple(values["cleaner"])
    return ImagePromptConfig(**{**values, "places": places, "mapper": mapper, "cleaner": cleaner})


def _check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    """Raise ValueError naming missing, unexpected and misshaped keys."""
    differ = [f"missing {key}" for key in expected if key not in found]
    differ += [f"unexpected {key}" for key in found if key not in expected]
    if differ:
        raise ValueError(f"'{name}' is nearest to an {KIND} model, but differs at: {'; '.join(differ[:5])}")
    for key, tensor in found.items():
        if tensor.shape != expected[key].shape:
            raise ValueError(
                f"'{name}' has a misshaped weight at {key}: expected {tuple(expected[key].shape)}, "
                f"got {tuple(tensor.shape)}"
            )
