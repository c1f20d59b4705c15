"""`dev.py golden DIR`: check every golden file in a folder against the pack. Runs inside the environment.

A format is a file name pattern and a checker in CHECKERS; a checker yields `Finding`s. It reads from the file
itself what to compute (its gammas, seeds, sizes), so that other files of the same formats work too.
"""

import fnmatch
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from zipfile import BadZipFile

from safetensors import SafetensorError

from .golden_formats.atlas_losses import check_losses, check_wellconditioned
from .golden_formats.camera_free import check_camera_free
from .golden_formats.crop_geometry import check_geometry
from .golden_formats.ddim_schedule import check_ddim_schedule
from .golden_formats.finding import Finding
from .golden_formats.flow_edges import check_flow_edges
from .golden_formats.flow_map import check_flow_map
from .golden_formats.fusion_clips import (
    check_balanced,
    check_clip,
    check_fast_accurate,
    check_interpolation,
)
from .golden_formats.fusion_kernels import check_kernels, check_schedule
from .golden_formats.fusion_metrics import check_metrics
from .golden_formats.image_prompt import (
    check_attention,
    check_mapper,
    check_positions,
    check_transformer,
    check_vision,
    check_words,
)
from .golden_formats.image_prompt_unet import check_prompted_unet
from .golden_formats.noise_prior import check_noise_prior, check_noise_statistics
from .golden_formats.orthogonal import check_orthogonal
from .golden_formats.uni_control import check_uni_controlnet
from .golden_formats.video_controlnet import check_video_controlnet
from .golden_formats.video_tuning import (
    check_inversion,
    check_sparse_causal,
    check_training,
    check_video_transformer,
)
from .golden_formats.video_unet import check_sampling, check_unet

NO_DATA = {".md", ".py"}
# what reading or comparing a broken file, or one of another format, raises
UNREADABLE = (KeyError, ValueError, TypeError, OSError, RuntimeError, BadZipFile, SafetensorError)

CHECKERS: dict[str, Callable[[Path], Iterable[Finding]]] = {
    "noise_prior*.npz": check_noise_prior,
    "kernels*.npz": check_kernels,
    "schedule*.json": check_schedule,
    "metrics*.json": check_metrics,
    "*_inputs.npz": check_clip,
    "*_balanced.npz": check_balanced,
    "*_fast_accurate.npz": check_fast_accurate,
    "*_interp.npz": check_interpolation,
    "noise_prior*stats*.json": check_noise_statistics,
    "geometry*.json": check_geometry,
    "*ddim_schedule*.safetensors": check_ddim_schedule,
    "a_flow_*.safetensors": check_flow_map,
    "b_flow_controlnet_*.safetensors": check_video_controlnet,
    "c_flow_controlnet_*.safetensors": check_video_controlnet,
    "d_image_controlnet_*.safetensors": check_video_controlnet,
    "*camera_free_guidance*.safetensors": check_camera_free,
    "f_unet_*.safetensors": check_unet,
    "h_pipeline_*.safetensors": check_sampling,
    "*injection_attention*.safetensors": check_attention,
    "*transformer3d_exemplar*.safetensors": check_transformer,
    "b4_videobooth_tiny_unet_*.safetensors": check_prompted_unet,
    "b5_videobooth_tiny_unet_*.safetensors": check_prompted_unet,
    "*videobooth_mapper*.safetensors": check_mapper,
    "*clip_vision_indexing*.safetensors": check_vision,
    "*word_replacement*.safetensors": check_words,
    "*position_encoding_definition*.safetensors": check_positions,
    "*orthogonal_loss*.safetensors": check_orthogonal,
    "*sparse_causal_attention*.safetensors": check_sparse_causal,
    "*tav_transformer3d*.safetensors": check_video_transformer,
    "*tav_train_step*.safetensors": check_training,
    "*ddim_inversion*.safetensors": check_inversion,
    "*unicontrolnet*.safetensors": check_uni_controlnet,
    "*nla_losses*.safetensors": check_losses,
    "*nla_wellconditioned*.safetensors": check_wellconditioned,
    "*opencv_flow_edges*.safetensors": check_flow_edges,
}


def check_file(path: Path) -> tuple[str, bool]:
    """The line of one file, and whether it must count as a failure."""
    checker = next(
        (check for pattern, check in CHECKERS.items() if fnmatch.fnmatch(path.name, pattern)), None
    )
    if checker is None:
        return "no checker yet", False
    try:
        findings = list(checker(path))
    except UNREADABLE as error:
        return f"FAILS: cannot be checked: {type(error).__name__}: {error}", True
    if not findings:
        return "FAILS: nothing in it has the names of its format", True
    for finding in findings:
        if finding.shown:
            print(f"{path.name}: {finding.shown}", flush=True)
    worst: Finding = max(findings, key=lambda finding: finding.strain)
    broken = [finding for finding in findings if not finding.holds]
    count = f"worst of {len(findings)}: {worst.name}"
    verdict = "FAILS: " + ", ".join(finding.name for finding in broken[:4]) if broken else "holds"
    if worst.shown:
        return f"{len(findings) - len(broken)} of {len(findings)} hold  {verdict}", bool(broken)
    return f"max|d|/max|ref| {worst.measure:.2e} (bound {worst.bound:.0e}, {count})  {verdict}", bool(broken)


def main(arguments: list[str]) -> int:
    """Check the folder named on the command line; 1 when a file fails, 2 when there is nothing to check."""
    folder = Path(arguments[0]) if len(arguments) == 1 else None
    if folder is None or not folder.is_dir():
        print("usage: dev.py golden DIR, a folder with golden files", file=sys.stderr)
        return 2
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in NO_DATA)
    failures, unchecked = 0, 0
    for path in files:
        line, failed = check_file(path)
        failures, unchecked = failures + failed, unchecked + (line == "no checker yet")
        print(f"{path.relative_to(folder)}: {line}", flush=True)
    held = len(files) - failures - unchecked
    print(f"{held} hold, {failures} fail, {unchecked} have no checker yet")
    return 1 if failures else 0 if files else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
