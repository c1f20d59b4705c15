"""Video ControlNets: load them, put images and trajectories on a prompt, guide without the camera."""

from comfy_api.latest import io

from ..core.control.lora import MIXES, LoraMix
from ..core.guidance import FORMS
from ..core.prompts.schedule import check_range, parse_values, values_at
from .host import files
from .host.clip_control import ControlOptions
from .host.control import VideoControl, apply_control, load_control_file
from .host.guidance import GuiderOptions, camera_free_guider
from .host.hints import FlowHint, KeyframeHint
from .inputs import amount_input, choice_input, percent_inputs, strength_schedule_input, text_input
from .sockets import FLOW_MAP, KEYFRAMES, VIDEO_CONTROLNET

CATEGORY = "Choreographer/Control"
IN_THE_FILE = "as in the file"  # choice of a LoRA part
MIX = "mix"


def _part(name: str, options: list, tooltip: str) -> io.Combo.Input:
    return io.Combo.Input(name, options=options, default=IN_THE_FILE, tooltip=tooltip)


class LoadVideoControlNet(io.ComfyNode):
    """A video ControlNet file, with LoRA parts, as a VIDEO_CONTROLNET."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        names = files.file_names(files.CONTROLNETS)
        parts = [IN_THE_FILE, *names]
        return io.Schema(
            node_id="ChoreoLoadVideoControlNet",
            display_name="Load Video ControlNet",
            category=CATEGORY,
            description="Load a ControlNet that sees whole clips: Image Conductor's image and flow nets, "
            "SparseCtrl RGB and scribble, and this pack's own.",
            inputs=[
                io.Combo.Input(
                    "control_net",
                    options=names,
                    tooltip="A file in ComfyUI/models/controlnet. The kind of file is recognised; a flow net "
                    "may hold its camera and object LoRA.",
                ),
                _part(
                    "camera_lora",
                    parts,
                    "Where the flow net's camera LoRA is, if it lies in a file of its own. 'as in the file' "
                    "= in control_net, or nowhere.",
                ),
                _part(
                    "object_lora",
                    parts,
                    "Where the flow net's object LoRA is, if it lies in a file of its own. 'as in the file' "
                    "= in control_net, or nowhere.",
                ),
            ],
            outputs=[
                VIDEO_CONTROLNET.Output(
                    display_name="control_net",
                    tooltip="The net, for 'Apply Image ControlNet' or 'Apply Trajectory ControlNet'.",
                )
            ],
        )

    @classmethod
    def execute(cls, control_net, camera_lora, object_lora) -> io.NodeOutput:
        """Read the files."""
        parts = {"camera": camera_lora, "object": object_lora}
        chosen = {
            role: files.full_path(files.CONTROLNETS, name)
            for role, name in parts.items()
            if name != IN_THE_FILE
        }
        return io.NodeOutput(load_control_file(files.full_path(files.CONTROLNETS, control_net), chosen))


def _conditionings() -> list:
    return [
        io.Conditioning.Input("positive", tooltip="What the clip should show."),
        io.Conditioning.Input("negative", tooltip="What it should not show; the ControlNet acts on it too."),
    ]


def _controlled() -> list:
    return [
        io.Conditioning.Output(display_name="positive", tooltip="The prompt with the ControlNet on it."),
        io.Conditioning.Output(
            display_name="negative", tooltip="The negative prompt with the ControlNet on it."
        ),
    ]


def _percents(what: str) -> list:
    return percent_inputs(
        f"When in sampling {what} begins: 0 = the first, noisiest step.",
        f"When in sampling {what} ends: 1 = with the last step.",
    )


def _strength_and_when() -> list:
    tooltip = "How strongly the ControlNet acts: 0 = not at all, 1 = as trained."
    return [amount_input("strength", 1.0, tooltip, most=10.0), *_percents("the ControlNet's action")]


def _options(strength, start_percent, end_percent, strength_schedule) -> ControlOptions:
    keys = parse_values(strength_schedule, "strength_schedule")
    return ControlOptions(strength, start_percent, end_percent, keys)


class ApplyImageControlNet(io.ComfyNode):
    """Prompts whose clips go through images at any set of frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoApplyImageControlNet",
            display_name="Apply Image ControlNet",
            category=CATEGORY,
            description="Let a clip start from, end with or pass through images, by a video ControlNet. "
            "Chains with other ControlNets.",
            inputs=[
                *_conditionings(),
                VIDEO_CONTROLNET.Input(
                    "control_net", tooltip="An image or scribble net from 'Load Video ControlNet'."
                ),
                KEYFRAMES.Input(
                    "keyframes",
                    tooltip="One or more images with their frames, of the clip's size. A keyframe's strength "
                    "weakens it; its easing is not used.",
                ),
                *_strength_and_when(),
                io.Vae.Input(
                    "vae", optional=True, tooltip="The model's VAE. Only scribble nets work without it."
                ),
                strength_schedule_input(),
            ],
            outputs=_controlled(),
        )

    @classmethod
    def execute(
        cls, positive, negative, control_net, keyframes, strength, start_percent, end_percent, vae=None,
        strength_schedule="",
    ) -> io.NodeOutput:  # fmt: skip
        """Encode the images, and put the control on copies of both."""
        options = _options(strength, start_percent, end_percent, strength_schedule)
        hint = KeyframeHint(keyframes, control_net.model, vae)
        made = apply_control((positive, negative), lambda: VideoControl(control_net, hint, options))
        return io.NodeOutput(*made)


class ApplyTrajectoryControlNet(io.ComfyNode):
    """Prompts whose clips move along a flow map."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoApplyTrajectoryControlNet",
            display_name="Apply Trajectory ControlNet",
            category=CATEGORY,
            description="Let the camera, an object or both follow drawn trajectories, by a flow ControlNet. "
            "Chains with other ControlNets.",
            inputs=[
                *_conditionings(),
                VIDEO_CONTROLNET.Input("control_net", tooltip="A flow net from 'Load Video ControlNet'."),
                FLOW_MAP.Input(
                    "flow_map",
                    tooltip="The trajectories as motion of every pixel, for the clip's frames and size.",
                ),
                choice_input(
                    "mode",
                    [*reversed(MIXES), MIX],
                    "What follows the trajectories. object: the things under them. camera: the view. base: "
                    "whatever the base net makes of them. mix: both LoRAs by their weights.",
                    default="object",
                ),
                amount_input("camera_weight", 1.0, "Mode mix: how much of the camera LoRA acts.", most=2.0),
                amount_input("object_weight", 1.0, "Mode mix: how much of the object LoRA acts.", most=2.0),
                *_strength_and_when(),
                strength_schedule_input(),
                text_input(
                    "camera_schedule",
                    "Mode mix: camera weight at frames, as in 0:1, 8:0, times camera_weight.",
                ),
                text_input(
                    "object_schedule",
                    "Mode mix: object weight at frames, as in 0:0, 8:1, times object_weight.",
                ),
            ],
            outputs=_controlled(),
        )

    @classmethod
    def execute(
        cls, positive, negative, control_net, flow_map, mode, camera_weight, object_weight, strength,
        start_percent, end_percent, strength_schedule="", camera_schedule="", object_schedule="",
    ) -> io.NodeOutput:  # fmt: skip
        """Put the control on copies of both."""
        for title, schedule in (("camera", camera_schedule), ("object", object_schedule)):
            if mode != MIX and schedule.strip():
                raise ValueError(f"{title}_schedule acts in mode mix only, the mode is {mode}: empty it")
        options = _options(strength, start_percent, end_percent, strength_schedule)
        frames = len(flow_map)
        mix = MIXES.get(mode) or LoraMix(
            _weight(camera_weight, camera_schedule, frames, "camera_schedule"),
            _weight(object_weight, object_schedule, frames, "object_schedule"),
        )
        hint = FlowHint(flow_map, control_net.model)
        made = apply_control((positive, negative), lambda: VideoControl(control_net, hint, options, mix))
        return io.NodeOutput(*made)


def _weight(weight: float, schedule: str, frames: int, title: str) -> float | tuple[float, ...]:
    """A LoRA's weight: one number, or one a frame where the schedule `title` has keys."""
    keys = parse_values(schedule, title)
    check_range(keys, frames, title)
    return tuple((values_at(keys, range(frames)) * weight).tolist()) if keys else weight


class CameraFreeGuider(io.ComfyNode):
    """A GUIDER that amplifies what the trajectory LoRA adds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoCameraFreeGuider",
            display_name="Camera-Free Guider",
            category=CATEGORY,
            description="Guidance with one more evaluation: the change that the trajectory ControlNet's LoRA "
            "makes is amplified, so that the object moves and the camera less. For 'SamplerCustomAdvanced'.",
            inputs=[
                io.Model.Input("model", tooltip="The model, with a motion module on it."),
                io.Conditioning.Input(
                    "positive", tooltip="From 'Apply Trajectory ControlNet' in mode object, camera or mix."
                ),
                io.Conditioning.Input("negative", tooltip="From the same node."),
                amount_input("cfg", 8.5, "How strongly the prompt acts, as in every sampler.", most=100.0),
                amount_input(
                    "trajectory_scale",
                    1.5,
                    "How much of the LoRA's change is added: 0 = none, the base net alone; 1 = once.",
                    most=20.0,
                ),
                choice_input(
                    "form",
                    FORMS,
                    "eq5: the paper's Eq. 5, three evaluations a step. extrapolate: both nets are guided by "
                    "cfg first, four evaluations a step; there 1 is the LoRA as it is.",
                ),
                *_percents("the amplification"),
            ],
            outputs=[io.Guider.Output(display_name="guider", tooltip="For 'SamplerCustomAdvanced'.")],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, cfg, trajectory_scale, form, start_percent, end_percent
    ) -> io.NodeOutput:
        """Make the guider."""
        options = GuiderOptions(cfg, trajectory_scale, form, start_percent, end_percent)
        return io.NodeOutput(camera_free_guider(model, positive, negative, options))


NODES = [LoadVideoControlNet, ApplyImageControlNet, ApplyTrajectoryControlNet, CameraFreeGuider]
