"""Image Conductor: camera and object control (Fig. 6, Table 1), LoRAs and guidance (Fig. 7)."""

from __future__ import annotations

from ..cache import frames_of
from ..context import BASE
from ..rows import Experiment, Made, Row

FLOW, IMAGE = (
    "controlnet/choreographer_demo_flow.safetensors",
    "controlnet/choreographer_demo_image.safetensors",
)
NEEDS = {**BASE, "flow net": FLOW, "image net": IMAGE}
SCALE = 1.5  # of camera-free guidance
# by what moves: for objects the same noise in all frames holds the ground still; it would hold a camera move
GAMMA = {"camera": 0.0, "object": 1.0}
# each object's own noise goes with it: correlation of neighbouring frames, reach in radii of the object
ALONG = {"objects": 0.9, "around": 1.35}
END = {"camera": 1.0, "object": 0.85}  # share of the steps after which the flow net rests
FEW_STEPS = 8  # of sampling, to afford eight seeds of each of the twenty paths
MODES = {
    "camera": ("none", "base", "lora", "wrong"),
    "object": ("none", "noise", "base", "lora", "guided", "wrong"),
}


def prepare(context):
    """Both nets on the demo model."""
    from ...measure_trajectories import Conductor

    files = {"flow_control": context.file(FLOW), "image_control": context.file(IMAGE)}
    return Conductor(context.options(trajectory_scale=SCALE, steps=FEW_STEPS, **files))


def measure(conductor, seed: int) -> Made:
    """One camera path and one object path, the seed's of ten each, in every mode."""
    from ...measure_trajectories import cases

    figures, strips = {}, {}
    for role, modes in MODES.items():
        names = [name for own, name in cases.case_names() if own == role]
        case = cases.make_case(role, names[seed % len(names)], seed)
        for mode in modes:
            images = conductor.clip(case, mode)
            figures[f"{role} {mode}"] = vars(cases.judge(case, images))
            strips[f"{role} {mode}"] = frames_of(images)
    return Made(figures, strips)


EXPERIMENTS = (
    Experiment("conductor", "1", NEEDS, (6, 80), 120, prepare, measure,
               lambda quick: {"scale": SCALE, "modes": MODES, "steps": FEW_STEPS, "gamma": GAMMA,
                              "along": ALONG, "end": END}),
)  # fmt: skip

_HOW = "ten paths of our own in turn, from one rendered image; pixels of a 128-pixel frame"
_OBJECT = f"{_HOW}; noise along the tracks, control in {END['object']:.0%} of sampling"
_TABLE = "lowest CamMC and ObjMC of the compared systems (at 384x256)"
ROWS = (
    Row("conductor_camera", "Image Conductor", "Fig. 6, Table 1: the camera follows the path (CamMC)",
        f"{_HOW}; camera LoRA against no control", _TABLE, "conductor", "error", "camera lora",
        "camera none", -1, "px"),
    Row("conductor_object", "Image Conductor", "Fig. 6, Table 1: the object follows the path (ObjMC)",
        f"{_OBJECT}; object LoRA and guidance against no control", _TABLE, "conductor", "error",
        "object guided", "object none", -1, "px"),
    Row("conductor_camera_lora", "Image Conductor", "Fig. 7: the camera LoRA follows better than none",
        f"{_HOW}; camera LoRA against the flow net alone", "shown as pictures", "conductor", "error",
        "camera lora", "camera base", -1, "px"),
    Row("conductor_object_lora", "Image Conductor", "and so does the object LoRA",
        f"{_OBJECT}; object LoRA against the flow net alone", "shown as pictures", "conductor", "error",
        "object lora", "object base", -1, "px"),
    Row("conductor_wrong", "Image Conductor", "Fig. 7: the wrong LoRA moves the camera less well",
        f"{_HOW}; camera LoRA against object LoRA on camera paths", "shown as pictures", "conductor",
        "error", "camera lora", "camera wrong", -1, "px"),
    Row("conductor_wrong_object", "Image Conductor", "and the object, too",
        f"{_OBJECT}; object LoRA against camera LoRA on object paths", "shown as pictures", "conductor",
        "error", "object lora", "object wrong", -1, "px"),
    Row("conductor_lora", "Image Conductor", "Fig. 7: the object LoRA keeps the background stiller than none",
        f"{_OBJECT}; motion of the background", "shown as pictures", "conductor", "background", "object lora",
        "object base", -1, "px a frame"),
    Row("conductor_guidance", "Image Conductor", "Fig. 7: camera-free guidance stills the camera further",
        f"{_OBJECT}; motion of the background", "shown as pictures", "conductor", "background",
        "object guided", "object lora", -1, "px a frame"),
    Row("conductor_amplified", "Image Conductor", "Eq. 5: and does not lose the object",
        f"{_OBJECT}; ObjMC with and without guidance", "not reported", "conductor", "error", "object guided",
        "object lora", 0, "px"),
)  # fmt: skip
