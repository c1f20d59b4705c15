"""A node that trains the camera and the object LoRA of a trajectory ControlNet."""

from comfy_api.latest import io, ui

from ..core.training.flow_control import Orthogonal
from .host.footage import NO_DATASET, Footage, dataset_names
from .host.motion_lora_training import LoraSettings, Models, train_motion_loras
from .inputs import amount_input, choice_input, learning_rate_input, seed_input, text_input
from .sockets import MOTION_MODEL, VIDEO_CONTROLNET
from .training import CATEGORY

TARGETS = ["zero", "identity"]


def _model_inputs() -> list:
    return [
        io.Model.Input("model", tooltip="A Stable Diffusion 1.5 image model, without a motion module."),
        io.Clip.Input("clip", tooltip="The text encoder of the checkpoint."),
        io.Vae.Input("vae", tooltip="The model's VAE, which encodes the clips."),
        MOTION_MODEL.Input("motion_model", tooltip="The motion module that clips will be made with."),
        VIDEO_CONTROLNET.Input(
            "control_net",
            tooltip="The flow net that the LoRAs are for. LoRAs that it has are trained further.",
        ),
    ]


def _clip_inputs() -> list:
    captions = "What the clips show: one line a clip, or one line for all."
    return [
        io.Image.Input(
            "camera_clips",
            optional=True,
            tooltip="Clips in which only the camera moves, for the camera LoRA: all frames of the first "
            "clip, then of the next.",
        ),
        text_input("camera_captions", f"camera_clips: {captions}", multiline=True),
        io.Image.Input(
            "object_clips",
            optional=True,
            tooltip="Clips in which things move, for the object LoRA: all frames of the first clip, then of "
            "the next.",
        ),
        text_input("object_captions", f"object_clips: {captions}", multiline=True),
        io.Combo.Input(
            "dataset",
            options=dataset_names(),
            default=NO_DATASET,
            optional=True,
            tooltip="A folder of curated clips in ComfyUI/input, made with `python dev.py curate`; each clip "
            "goes to the LoRA for what moves in it.",
        ),
        VIDEO_CONTROLNET.Input(
            "image_net",
            optional=True,
            tooltip="An image net that is shown the first frame of each clip while the LoRAs learn, as when "
            "clips are made from an image.",
        ),
    ]


def _training_inputs() -> list:
    return [
        io.Int.Input("frames", default=16, min=2, max=256, tooltip="Frames of each clip."),
        io.Int.Input(
            "rank", default=64, min=1, max=512, tooltip="Rank of a fresh LoRA. The published ones have 64."
        ),
        io.Int.Input("steps", default=500, min=1, max=1_000_000, tooltip="Training steps of each LoRA."),
        learning_rate_input(
            "Highest learning rate: it rises over the first tenth (at most 50 steps) and falls to a tenth of "
            "this."
        ),
        seed_input("Seed of fresh LoRAs and of all that is drawn while training.", advance=False),
        io.Int.Input(
            "clips_per_step",
            default=1,
            min=1,
            max=64,
            tooltip="Clips seen at each step. More needs more memory.",
        ),
        amount_input(
            "orthogonal_weight",
            0.1,
            "How strongly the object LoRA is kept apart from the camera LoRA (Image Conductor Eq. 4); 0 = "
            "not at all.",
            most=100.0,
        ),
        choice_input(
            "orthogonal_target",
            TARGETS,
            "zero: the two LoRAs are made orthogonal. identity: Eq. 4 as printed.",
        ),
    ]


class TrainMotionLoras(io.ComfyNode):
    """A trajectory ControlNet with LoRAs trained on the user's clips."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoTrainMotionLoras",
            display_name="Train Motion LoRAs",
            category=CATEGORY,
            is_output_node=True,
            description="Trains the camera LoRA and the object LoRA of a trajectory ControlNet on clips, in "
            "which points are followed by themselves. All else stays as it is. If you cancel, what was "
            "learnt is kept in output/choreographer_training, and the next run with the same inputs and "
            "settings goes on from there.",
            inputs=[
                *_model_inputs(),
                *_training_inputs(),
                *_clip_inputs(),
                text_input(
                    "save_prefix",
                    "Name to save the net with its LoRAs under in models/controlnet; a number is added. "
                    "Empty = not saved.",
                ),
            ],
            outputs=[
                VIDEO_CONTROLNET.Output(
                    display_name="control_net",
                    tooltip="The net with its LoRAs, for 'Apply Trajectory ControlNet'.",
                ),
                io.Image.Output(
                    display_name="loss_curves",
                    tooltip="The loss over the steps of each LoRA, on a log scale: the camera's first.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model, clip, vae, motion_model, control_net, frames, rank, steps, learning_rate, seed,
        clips_per_step, orthogonal_weight, orthogonal_target, camera_clips=None, camera_captions="",
        object_clips=None, object_captions="", dataset=NO_DATASET, image_net=None, save_prefix="",
    ) -> io.NodeOutput:  # fmt: skip
        """Train, and show the loss curves."""
        given = {"camera": (camera_clips, camera_captions), "mixed": (object_clips, object_captions)}
        footage = [
            Footage(kind, images, frames, captions)
            for kind, (images, captions) in given.items()
            if images is not None
        ]
        apart = Orthogonal(orthogonal_weight, orthogonal_target)
        settings = LoraSettings(
            frames, rank, steps, learning_rate, seed, clips_per_step, apart, save_prefix.strip()
        )
        models = Models(model, clip, vae, motion_model, control_net, image_net)
        net, curves = train_motion_loras(models, footage, settings, dataset)
        return io.NodeOutput(net, curves, ui=ui.PreviewImage(curves, cls=cls))


NODES = [TrainMotionLoras]
