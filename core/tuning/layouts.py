"""Files of video tunings: ours, and the published UNets of Tune-A-Video.

Ours has the changes of the queries under a LoRA's names (`lora_unet_..._attn1_to_q.diff`), so that any LoRA
loader applies them, and beside them one section for the attention over frames, `temporal.PLACE.attn_temp...`.
Published files are whole UNets; of those the queries and the attention over frames are taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import read_weights, unwrap, write_weights
from ..image_prompt.network import Place
from ..motion.detect import TITLES, detect_layout
from ..motion.layouts import OWN
from .network import TuningConfig, VideoTuning

KIND = "video tuning"
QUERIES = {"own": "attn1.to_q", "text": "attn2.to_q"}  # our name -> published
_PLACE = r"(?P<place>(?:(?:down|up)_blocks\.\d+|mid_block)\.attentions\.\d+\.transformer_blocks\.\d+)\."
_PUBLISHED = re.compile(_PLACE + r"(?P<part>.+)")
_TEMPORAL = {
    **{f"attn_temp.to_{letter}.weight": f"temporal.{letter}.weight" for letter in "qkv"},
    **{f"attn_temp.to_out.0.{kind}": f"temporal.out.{kind}" for kind in ("weight", "bias")},
    **{f"norm_temp.{kind}": f"temporal.norm.{kind}" for kind in ("weight", "bias")},
}
_PARTS = {**_TEMPORAL, **{f"{theirs}.weight": f"{ours}.weight" for ours, theirs in QUERIES.items()}}


def read_tuning(source, ops=nn, device=None, dtype=None) -> VideoTuning:
    """Read a tuning from a path (file or diffusers folder) or a state dict; layers come from `ops`.

    Knows our files, and published UNets of Tune-A-Video for SD1.x and SD2.x, whole or the trained part alone;
    those ran their ResBlocks' norms over whole clips. Raises ValueError naming what a file is, or lacks.
    """
    if isinstance(source, Mapping):
        state, metadata, name = unwrap(dict(source)), {}, "the state dict"
    else:
        (state, metadata), name = read_weights(source), Path(source).name
    own = json.loads(metadata.get(OWN, "{}"))
    ours = own.get("kind") == KIND
    weights = _from_ours(state, own["config"]) if ours else _from_published(state)
    widths = {place: t.shape[0] for (place, part), t in weights.items() if part == "temporal.q.weight"}
    if not widths:
        raise ValueError(_refusal(name, state))
    places = tuple(widths)
    config = _own_config(own["config"], places) if ours else _published_config(weights, widths, name)
    weights = {**_defaults(config), **weights}
    tuning = VideoTuning(config, ops=ops, device="meta")
    found = {f"places.{places.index(place)}.{part}": tensor for (place, part), tensor in weights.items()}
    _check(found, tuning.state_dict(), places, name)
    tuning.load_state_dict({key: t.to(device=device, dtype=dtype) for key, t in found.items()}, assign=True)
    return tuning


def save_tuning(tuning: VideoTuning, path, metadata: Mapping | None = None) -> None:
    """Write a tuning as a LoRA file with a section for the attention over frames.

    Its configuration and `metadata` (JSON values) go into the metadata. Raises ValueError for a tuning with
    whole queries: what it changes is not known without the model it was made on.
    """
    if tuning.config.whole:
        raise ValueError("A published tuning cannot be written as differences: use its own file.")
    names, weights = {ours: theirs for theirs, ours in _TEMPORAL.items()}, {}
    for place, module in zip(tuning.config.places, tuning.places, strict=True):
        for part, tensor in module.state_dict().items():
            if part in names:
                key = f"temporal.{place.name}.{names[part]}"
            else:
                layer = f"{place.name}.{QUERIES[part.removesuffix('.weight')]}"
                key = f"lora_unet_{layer.replace('.', '_')}.diff"
            weights[key] = tensor
    text = json.dumps({**(metadata or {}), "kind": KIND, "config": asdict(tuning.config)})
    write_weights(weights, path, {"format": "pt", OWN: text})


def published_weights(tuning: VideoTuning) -> dict[str, Tensor]:
    """A tuning's weights under Tune-A-Video's names; with one on the device "meta" it tells the shapes."""
    names = {ours: theirs for theirs, ours in _PARTS.items()}
    return {
        f"{place.name}.{names[part]}": tensor
        for place, module in zip(tuning.config.places, tuning.places, strict=True)
        for part, tensor in module.named_parameters()
    }


def _from_published(state: Mapping[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    found = {}
    for key, tensor in state.items():
        match = _PUBLISHED.fullmatch(key)
        if match and match["part"] in _PARTS:
            found[match["place"], _PARTS[match["part"]]] = tensor
    return found


def _from_ours(state: Mapping[str, Tensor], config: Mapping) -> dict[tuple[str, str], Tensor]:
    flat = {
        f"lora_unet_{place['name']}.{theirs}".replace(".", "_") + ".diff": (place["name"], f"{ours}.weight")
        for place in config["places"]
        for ours, theirs in QUERIES.items()
    }
    found = {flat[key]: tensor for key, tensor in state.items() if key in flat}
    for key, tensor in state.items():
        match = _PUBLISHED.fullmatch(key.removeprefix("temporal."))
        if match and match["part"] in _TEMPORAL:
            found[match["place"], _TEMPORAL[match["part"]]] = tensor
    return found


def _own_config(values: Mapping, places: tuple[str, ...]) -> TuningConfig:
    known = {place["name"]: Place(**place) for place in values["places"]}
    return TuningConfig(**{**values, "places": tuple(known[place] for place in places)})


def _published_config(weights: Mapping, widths: Mapping[str, int], name: str) -> TuningConfig:
    places = tuple(Place(place, width, 0) for place, width in widths.items())
    whole = any(part == "own.weight" for _, part in weights)
    return TuningConfig(places, whole, shared_norm=True, name=Path(name).stem)


def _defaults(config: TuningConfig) -> dict[tuple[str, str], Tensor]:
    """What files may leave out: the norms, which Tune-A-Video does not train, and queries not changed."""
    found = {}
    for place in config.places:
        for kind, make in (("weight", torch.ones), ("bias", torch.zeros)):
            found[place.name, f"temporal.norm.{kind}"] = make(place.channels)
        if not config.whole:
            for query in QUERIES:
                found[place.name, f"{query}.weight"] = torch.zeros(place.channels, place.channels)
    return found


def _check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], places, name: str) -> None:
    """Raise ValueError naming missing and misshaped weights."""
    wrong = [key for key, tensor in expected.items() if key not in found or found[key].shape != tensor.shape]
    if wrong:
        first = wrong[0].split(".", 2)
        what = "lacks" if wrong[0] not in found else "has a misshaped weight at"
        raise ValueError(f"'{name}' {what} {places[int(first[1])]} {first[2]} ({len(wrong)} such)")


def _refusal(name: str, state: Mapping[str, Tensor]) -> str:
    looks = TITLES.get(detect_layout(state))
    return (
        f"'{name}' is not a video tuning: expected the attention over frames, such as attn_temp.to_q.weight, "
        f"got {', '.join(list(state)[:3])}" + (f"; it looks like {looks}" if looks else "")
    )
