"""Sample large clips tile by tile, all tiles in step: one prediction of the whole clip at every model call.

The host evaluates conditions in one place, which it lets a model's wrappers surround. Here it is asked once
for each tile, with the whole clip in each, and the answers are merged by their weights. So the sampler,
guidance nodes (with evaluations of their own, too), masks and noise only ever see the one large latent.
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass

import comfy.utils
import torch
from comfy.controlnet import ControlBase
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...core.refine.tiles import Tile, Tiling, spread
from .hooks import TILE
from .progress import check_interrupt

CELL = 8  # pixels a latent
REFUSED = {
    "area": "Conditioning (Set Area)",
    "set_area_to_bounds": "Conditioning (Set Mask) with 'mask bounds'; use its 'default'",
    "gligen": "GLIGEN",
}


@dataclass(frozen=True)
class TileOptions:
    """Side and overlap of the tiles in latents, and a kind of core.refine.tiles.WEIGHTS."""

    tile: int
    overlap: int
    kind: str = "gaussian"

    @classmethod
    def of_pixels(cls, tile: int, overlap: int, kind: str) -> TileOptions:
        """The same from pixels. Raises ValueError for an overlap that is not smaller than the tile."""
        if not 0 <= overlap // CELL < tile // CELL:
            raise ValueError(
                f"overlap is {overlap} pixels, tile_size {tile}; expected an overlap of 0 to {tile - CELL}"
            )
        return cls(tile // CELL, overlap // CELL, kind)


def apply_tiles(model, options: TileOptions):
    """A clone of a ModelPatcher that samples in tiles; with a single tile it samples as `model` does.

    Raises ValueError for an overlap that is not smaller than the tile.
    """
    spread(options.tile, options.tile, options.overlap)  # checks the numbers
    model = model.clone()
    run, key = TileRun(options), f"choreo_tiles_{uuid.uuid4().hex}"
    evaluations = model.wrappers.get(WrappersMP.CALC_COND_BATCH, {})
    # before all others: what they do belongs to one evaluation, that of a tile
    model.wrappers[WrappersMP.CALC_COND_BATCH] = {key: [run.predict], **evaluations}
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, key, run.sample)
    model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, key, run.prepare)
    model.model_options["transformer_options"][TILE] = options.tile  # a clone's options are its own
    return model


@dataclass
class TileRun:
    """Tiled predictions of one model."""

    options: TileOptions

    def sample(self, executor, *args, **kwargs):
        """OUTER_SAMPLE wrapper: refuse what tiles cannot do."""
        check_divisible(executor.class_obj.conds)
        check_guidance(executor.class_obj.model_options)
        return executor(*args, **kwargs)

    def prepare(self, executor, model, noise_shape, *args, **kwargs):
        """PREPARE_SAMPLING wrapper: a tile's memory is all that is needed."""
        shape = [*noise_shape[:-2], *(min(n, self.options.tile) for n in noise_shape[-2:])]
        return executor(model, shape, *args, **kwargs)

    def predict(self, executor, model, conds, x_in, timestep, model_options) -> list[Tensor]:
        """CALC_COND_BATCH wrapper: predictions (F, 4, H, W) for each list of conditions."""
        tiling = Tiling(*x_in.shape[-2:], self.options.tile, self.options.overlap, self.options.kind)
        if len(tiling.tiles) == 1:
            return executor(model, conds, x_in, timestep, model_options)
        hints: dict = {}  # id of a control -> its hint at the clip's size; ids last as long as `conds`

        def predicted(tile: Tile) -> Tensor:
            check_interrupt()
            cut, part = self._conds_of(tile, conds, x_in, hints), tile.of(x_in).contiguous()
            return torch.stack(executor(model, cut, part, timestep, model_options))

        return list(tiling.merge(map(predicted, tiling.tiles)).unbind(0))

    def _conds_of(self, tile: Tile, conds: list, whole: Tensor, hints: dict) -> list:
        controls: dict = {}
        return [
            None if group is None else [self._cut(c, tile, whole, controls, hints) for c in group]
            for group in conds
        ]

    def _cut(self, cond: dict, tile: Tile, whole: Tensor, controls: dict, hints: dict) -> dict:
        """A copy of a condition with the tile's part of all that lies over the frame."""
        cut = dict(cond)
        if "mask" in cond:
            cut["mask"] = tile.of(cond["mask"])
        if "control" in cond:
            cut["control"] = self._control(cond["control"], tile, whole, controls, hints)
        cut["model_conds"] = {
            name: _cut_model_cond(item, tile, whole) for name, item in cond["model_conds"].items()
        }
        return cut

    def _control(
        self, control: ControlBase, tile: Tile, whole: Tensor, controls: dict, hints: dict
    ) -> ControlBase:
        """The tile's copy of a control and of those before it: one for all conditions, so that they batch.

        Shallow copies share the loaded model and the state of `pre_run`, and die with the tile.
        """
        if id(control) not in controls:
            own, ratio = copy.copy(control), pixels_a_cell(control)
            before = control.previous_controlnet
            if before is not None:
                own.previous_controlnet = self._control(before, tile, whole, controls, hints)
            pixels = Tile(*(edge * ratio for edge in tile))
            own.cond_hint_original = pixels.of(_hint(control, whole, ratio, hints))
            own.cond_hint = own.extra_concat = None
            controls[id(control)] = own
        return controls[id(control)]


def _hint(control: ControlBase, whole: Tensor, ratio: int, hints: dict) -> Tensor:
    if id(control) not in hints:
        height, width = (n * ratio for n in whole.shape[-2:])
        hint = control.cond_hint_original
        if tuple(hint.shape[-2:]) != (height, width):
            hint = comfy.utils.common_upscale(hint, width, height, control.upscale_algorithm, "center")
        hints[id(control)] = hint
    return hints[id(control)]


def pixels_a_cell(control: ControlBase) -> int:
    """Pixels of a control's hint for each latent."""
    return control.compression_ratio * (control.vae.spacial_compression_encode() if control.vae else 1)


def _cut_model_cond(item, tile: Tile, whole: Tensor):
    """A copy of the host's CONDRegular and its kind with the tile's part, where it lies over the clip."""
    value = item.cond
    if isinstance(value, Tensor) and value.ndim >= 4 and value.shape[-2:] == whole.shape[-2:]:
        return item._copy_with(tile.of(value))
    return item


def check_divisible(conds: dict) -> None:
    """Raise ValueError for conditions that cannot be divided into tiles."""
    for cond in (cond for group in conds.values() for cond in group):
        name = next((REFUSED[key] for key in REFUSED if cond.get(key)), None)
        control = cond.get("control")
        while control is not None and name is None:
            if getattr(control, "reads_context_window", False) or control.extra_concat_orig:
                name = "a video ControlNet or one with a mask"
            control = control.previous_controlnet
        if name:
            raise ValueError(
                f"The prompt carries {name}, which cannot be divided into tiles; leave it out here"
            )


def check_guidance(model_options: dict) -> None:
    """Raise ValueError for guidance that reads attention of the whole frame, where there is that of tiles."""
    functions = model_options.get("sampler_post_cfg_function", ())
    if any(getattr(function, "__module__", "").endswith("nodes_sag") for function in functions):
        raise ValueError(
            "The model carries 'Self-Attention Guidance', which needs the attention of the whole frame; "
            "connect the model from before that node"
        )
