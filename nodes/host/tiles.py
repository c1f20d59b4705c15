"""Sample large clips tile by tile, all tiles in step: one prediction of the whole clip at every model call.

The host asks for the predictions of all conditions through one public function of a model's options. Here it
is asked once for each tile, with the whole clip in each, and the answers are merged by their weights. So the
sampler, guidance nodes, masks and noise only ever see the one large latent.
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass, field

import comfy.samplers
import comfy.utils
import torch
from comfy.controlnet import ControlBase
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...core.refine.tiles import Tile, Tiling, spread
from .progress import check_interrupt

CALL = "sampler_calc_cond_batch_function"
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
    run, key = TileRun(options, model.model_options.get(CALL)), f"choreo_tiles_{uuid.uuid4().hex}"
    model.set_model_sampler_calc_cond_batch_function(run.predict)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, key, run.sample)
    model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, key, run.prepare)
    return model


@dataclass
class TileRun:
    """Tiled predictions of one model. `inner` is what the model's options had in place of the host's own."""

    options: TileOptions
    inner: object = None
    hints: dict = field(default_factory=dict)  # id of a control -> its hint at the clip's size

    def sample(self, executor, *args, **kwargs):
        """OUTER_SAMPLE wrapper: refuse what tiles cannot do, and forget the hints however sampling ends."""
        check_conditioning(executor.class_obj.conds)
        try:
            return executor(*args, **kwargs)
        finally:
            self.hints.clear()

    def prepare(self, executor, model, noise_shape, *args, **kwargs):
        """PREPARE_SAMPLING wrapper: a tile's memory is all that is needed."""
        shape = [*noise_shape[:-2], *(min(n, self.options.tile) for n in noise_shape[-2:])]
        return executor(model, shape, *args, **kwargs)

    def predict(self, arguments: dict) -> list[Tensor]:
        """The host's function: predictions (F, 4, H, W) for each list of conditions."""
        x, conds = arguments["input"], arguments["conds"]
        tiling = Tiling(*x.shape[-2:], self.options.tile, self.options.overlap, self.options.kind)
        if len(tiling.tiles) == 1:
            return self._call(arguments)
        parts = (self._tile(arguments, tile, conds) for tile in tiling.tiles)
        return list(tiling.merge(parts).unbind(0))

    def _tile(self, arguments: dict, tile: Tile, conds: list) -> Tensor:
        check_interrupt()
        whole, controls = arguments["input"], {}
        cut = [
            None if group is None else [self._cut(c, tile, whole, controls) for c in group] for group in conds
        ]
        return torch.stack(self._call({**arguments, "input": tile.of(whole).contiguous(), "conds": cut}))

    def _call(self, arguments: dict) -> list[Tensor]:
        if self.inner is not None:
            return self.inner(arguments)
        names = ("model", "conds", "input", "sigma", "model_options")
        return comfy.samplers.calc_cond_batch(*(arguments[name] for name in names))

    def _cut(self, cond: dict, tile: Tile, whole: Tensor, controls: dict) -> dict:
        """A copy of a condition with the tile's part of all that lies over the frame."""
        cut = dict(cond)
        if "mask" in cond:
            cut["mask"] = tile.of(cond["mask"])
        if "control" in cond:
            cut["control"] = self._control(cond["control"], tile, whole, controls)
        cut["model_conds"] = {
            name: _cut_model_cond(item, tile, whole) for name, item in cond["model_conds"].items()
        }
        return cut

    def _control(self, control: ControlBase, tile: Tile, whole: Tensor, controls: dict) -> ControlBase:
        """The tile's copy of a control and of those before it: one for all conditions, so that they batch.

        Shallow copies share the loaded model and the state of `pre_run`, and die with the tile.
        """
        if id(control) not in controls:
            own, ratio = copy.copy(control), pixels_a_cell(control)
            if control.previous_controlnet is not None:
                own.previous_controlnet = self._control(control.previous_controlnet, tile, whole, controls)
            pixels = Tile(*(edge * ratio for edge in tile))
            own.cond_hint_original = pixels.of(self._hint(control, whole, ratio))
            own.cond_hint = own.extra_concat = None
            controls[id(control)] = own
        return controls[id(control)]

    def _hint(self, control: ControlBase, whole: Tensor, ratio: int) -> Tensor:
        if id(control) not in self.hints:
            height, width = (n * ratio for n in whole.shape[-2:])
            hint = control.cond_hint_original
            if tuple(hint.shape[-2:]) != (height, width):
                hint = comfy.utils.common_upscale(hint, width, height, control.upscale_algorithm, "center")
            self.hints[id(control)] = hint
        return self.hints[id(control)]


def pixels_a_cell(control: ControlBase) -> int:
    """Pixels of a control's hint for each latent."""
    return control.compression_ratio * (control.vae.spacial_compression_encode() if control.vae else 1)


def _cut_model_cond(item, tile: Tile, whole: Tensor):
    """A copy of the host's CONDRegular and its kind with the tile's part, where it lies over the clip."""
    value = item.cond
    if isinstance(value, Tensor) and value.ndim >= 4 and value.shape[-2:] == whole.shape[-2:]:
        return item._copy_with(tile.of(value))
    return item


def check_conditioning(conds: dict) -> None:
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
