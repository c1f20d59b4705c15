"""Uni-ControlNet: one net for seven kinds of map and the content of a picture."""

from comfy_api.latest import io

from ..core.prompts.schedule import parse_values
from ..core.uni_control.network import CONDITIONS
from .host import files
from .host.clip_control import ControlOptions
from .host.uni_control import applied, apply_uni_control, encode_content, load_uni_file
from .inputs import amount_input, percent_inputs, strength_schedule_input
from .sockets import UNI_CONTROLNET

CATEGORY = "Choreographer/Control"
TOOLTIPS = {
    "canny": "Canny edges, white on black.",
    "mlsd": "Straight lines (M-LSD).",
    "hed": "Soft edges (HED).",
    "sketch": "A sketch, white on black.",
    "openpose": "Poses as OpenPose draws them.",
    "midas": "Depth (MiDaS), near is white.",
    "segmentation": "Segmentation in ADE20K colours.",
}


class LoadUniControlNet(io.ComfyNode):
    """A Uni-ControlNet file as a UNI_CONTROLNET."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoLoadUniControlNet",
            display_name="Load Uni-ControlNet",
            category=CATEGORY,
            description="Load a Uni-ControlNet: one net that takes up to seven kinds of control map at once.",
            inputs=[
                io.Combo.Input(
                    "control_net",
                    options=files.file_names(files.CONTROLNETS),
                    tooltip="A file in ComfyUI/models/controlnet. It may hold a whole Stable Diffusion "
                    "besides, of which nothing is used.",
                )
            ],
            outputs=[
                UNI_CONTROLNET.Output(
                    display_name="uni_controlnet", tooltip="The net, for 'Apply Uni-ControlNet'."
                )
            ],
        )

    @classmethod
    def execute(cls, control_net) -> io.NodeOutput:
        """Read the file."""
        return io.NodeOutput(load_uni_file(files.full_path(files.CONTROLNETS, control_net)))


class ApplyUniControlNet(io.ComfyNode):
    """Prompts with any subset of the seven maps, and content."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        maps = [
            io.Image.Input(
                kind, optional=True, tooltip=f"{TOOLTIPS[kind]} One map for all frames, or one a frame."
            )
            for kind in CONDITIONS
        ]
        return io.Schema(
            node_id="ChoreoApplyUniControlNet",
            display_name="Apply Uni-ControlNet",
            category=CATEGORY,
            description="Steer images or clips by any of seven kinds of map together, and by a picture's "
            "content, in one pass of one net. Chains with other ControlNets and works in context windows.",
            inputs=[
                io.Conditioning.Input("positive", tooltip="What the images should show."),
                io.Conditioning.Input("negative", tooltip="What they should not show."),
                UNI_CONTROLNET.Input("uni_controlnet", tooltip="From 'Load Uni-ControlNet'."),
                amount_input(
                    "strength", 1.0, "How strongly the maps act: 0 = not at all, 1 = as trained.", most=10.0
                ),
                amount_input(
                    "content_strength", 1.0, "How strongly the content acts: 0 = not at all.", most=10.0
                ),
                *percent_inputs(
                    "When in sampling the maps begin to act: 0 = at the start.",
                    "When they cease to act: 1 = with the last step.",
                ),
                *maps,
                io.Image.Input(
                    "content",
                    optional=True,
                    tooltip="A picture whose content the result should have: one for all, or one a frame.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="CLIP ViT-L/14, for the content; the demo needs none.",
                ),
                io.Vae.Input(
                    "vae", optional=True, tooltip="The checkpoint's VAE, for the content of the demo's net."
                ),
                strength_schedule_input(),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="The prompt with the net on it."),
                io.Conditioning.Output(
                    display_name="negative", tooltip="The negative prompt with the net on it."
                ),
                io.String.Output(display_name="report", tooltip="What is applied and what is absent."),
            ],
        )

    @classmethod
    def execute(
        cls, positive, negative, uni_controlnet, strength, content_strength, start_percent, end_percent,
        canny=None, mlsd=None, hed=None, sketch=None, openpose=None, midas=None, segmentation=None,
        content=None, clip_vision=None, vae=None, strength_schedule="",
    ) -> io.NodeOutput:  # fmt: skip
        """Encode the content, and put the net on copies of both."""
        keys = parse_values(strength_schedule, "strength_schedule")
        options = ControlOptions(strength, start_percent, end_percent, keys)
        maps = zip(CONDITIONS, (canny, mlsd, hed, sketch, openpose, midas, segmentation), strict=True)
        given = {kind: clip for kind, clip in maps if clip is not None}
        found = None
        if content is not None and content_strength:
            found = encode_content(uni_controlnet, content, clip_vision, vae)
        prompts = (positive, negative)
        made = apply_uni_control(prompts, uni_controlnet, given, options, found, content_strength)
        return io.NodeOutput(*made, applied(uni_controlnet, given if strength else {}, found is not None))


NODES = [LoadUniControlNet, ApplyUniControlNet]
