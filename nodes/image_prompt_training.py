"""Train image prompts, and make the data they train on."""

from comfy_api.latest import io, ui

from ..core.data.subject_boxes import EVERY, KEYWORDS
from ..core.training.image_prompt import STAGES
from .host.image_prompt_training import PromptTraining, train_prompt
from .host.subject_dataset import FINDERS, build_dataset
from .inputs import choice_input, learning_rate_input, seed_input, text_input
from .sockets import IMAGE_PROMPT_MODEL, MOTION_MODEL

CATEGORY = "Choreographer/Training"


class BuildSubjectDataSet(io.ComfyNode):
    """A list of clips with captions and boxes of their subjects."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoBuildSubjectDataSet",
            display_name="Build Subject Data Set",
            category=CATEGORY,
            is_output_node=True,
            description="From a folder of videos, each with a text file of its name as caption: which clips "
            "show a subject that their caption names, and where. Writes dataset.jsonl, for 'Train Image "
            "Prompt'.",
            inputs=[
                io.String.Input(
                    "videos",
                    default="",
                    tooltip="Folder with videos, or animated pictures, and their captions as NAME.txt.",
                ),
                io.String.Input(
                    "folder",
                    default="subjects",
                    tooltip="Where dataset.jsonl goes: a folder in ComfyUI's output folder.",
                ),
                io.String.Input(
                    "keywords",
                    default=KEYWORDS,
                    multiline=True,
                    tooltip="A line for each kind of subject: name = the detector's labels: words of "
                    "captions. Clips whose captions have none of the words are left out.",
                ),
                choice_input(
                    "finder",
                    FINDERS,
                    "What finds the subject. faces: the pack's own face detector. masks: videos or pictures "
                    "of the same names, white on the subject. known: NAME.boxes.json beside each clip. "
                    "model: an object detector of transformers.",
                ),
                text_input("source", "Only for masks and model: the folder that they are in."),
                io.Int.Input(
                    "every", default=EVERY, min=1, max=1000, tooltip="Look at every so many frames."
                ),
                io.Float.Input(
                    "threshold",
                    default=0.6,
                    min=0.01,
                    max=0.99,
                    step=0.01,
                    tooltip="Only for faces and model: finds with a lower score do not count.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="dataset", tooltip="Path of dataset.jsonl."),
                io.String.Output(
                    display_name="report", tooltip="How many clips were kept, and why others not."
                ),
            ],
        )

    @classmethod
    def execute(cls, videos, folder, keywords, finder, every, threshold, source="") -> io.NodeOutput:
        """Look through the videos."""
        path, report = build_dataset(videos, folder, keywords, finder, source, every, threshold)
        return io.NodeOutput(path, report, ui=ui.PreviewText(report))


def _training() -> list:
    whole = {"min": 1, "max": 1_000_000}
    return [
        choice_input(
            "stage",
            STAGES,
            "coarse: first, tokens and what reads them. fine: then, image attention; connect the coarse "
            "model. joint: both at once, for comparison.",
        ),
        io.Int.Input("steps", default=500, **whole, tooltip="Training steps."),
        learning_rate_input(
            "Highest learning rate: it rises over the first 50 steps and falls to a tenth of this."
        ),
        seed_input("Seed of fresh weights and of all that is drawn while training.", advance=False),
    ]


def _clips() -> list:
    whole = {"min": 1, "max": 1_000_000}
    return [
        io.Int.Input("frames", default=16, min=2, max=256, tooltip="Frames of each clip."),
        io.Int.Input("width", default=128, min=64, max=4096, step=8, tooltip="Width of the clips in pixels."),
        io.Int.Input(
            "height", default=128, min=64, max=4096, step=8, tooltip="Height of the clips in pixels."
        ),
        io.Int.Input(
            "clips",
            default=64,
            **whole,
            tooltip="Only without a data set: clips of the sprite world to draw.",
        ),
        io.Int.Input("clips_per_step", default=1, min=1, max=64, tooltip="Clips seen at each step."),
        io.Boolean.Input(
            "positions",
            default=False,
            tooltip="Only for fine and joint: also train how much places in space and time count.",
        ),
    ]


class TrainImagePrompt(io.ComfyNode):
    """An image prompt model trained on clips and pictures of their subjects."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoTrainImagePrompt",
            display_name="Train Image Prompt",
            category=CATEGORY,
            is_output_node=True,
            description="Trains pictures as prompts, from coarse to fine, while the image model stays as it "
            "is. If you cancel, what was learnt is kept in output/choreographer_training, and the next run "
            "with the same inputs and settings goes on from there.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="A Stable Diffusion 1.5 image model, as the loader gives it."
                ),
                io.Clip.Input("clip", tooltip="The text encoder of the checkpoint."),
                io.Vae.Input("vae", tooltip="The checkpoint's VAE."),
                *_training(),
                *_clips(),
                IMAGE_PROMPT_MODEL.Input(
                    "image_prompt_model",
                    optional=True,
                    tooltip="To go on from: the coarse model for 'fine'. Without it a fresh one is made, "
                    "which needs CLIP vision.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="CLIP ViT-L/14, for a fresh model. Without it the fresh model brings a small "
                    "picture encoder of its own, which knows the sprite world alone.",
                ),
                MOTION_MODEL.Input(
                    "motion_model", optional=True, tooltip="The motion module that the clips are to have."
                ),
                text_input(
                    "dataset",
                    "dataset.jsonl from 'Build Subject Data Set'. Empty = clips of the sprite world.",
                ),
                text_input(
                    "save_prefix",
                    "Name to save the trained model under in models/image_prompt_models; a number is added. "
                    "Empty = not saved.",
                ),
            ],
            outputs=[
                IMAGE_PROMPT_MODEL.Output(
                    display_name="image_prompt_model",
                    tooltip="The trained model, for the image prompt nodes.",
                ),
                io.Image.Output(
                    display_name="loss_curve", tooltip="The loss over the steps, on a log scale."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model, clip, vae, stage, steps, learning_rate, seed, frames, width, height, clips,
        clips_per_step, positions, image_prompt_model=None, clip_vision=None, motion_model=None, dataset="",
        save_prefix="",
    ) -> io.NodeOutput:  # fmt: skip
        """Train, and show the loss curve."""
        settings = PromptTraining(
            stage, steps, learning_rate, seed, frames, (width, height), clips, clips_per_step, positions,
            dataset.strip(), save_prefix.strip(),
        )  # fmt: skip
        trained, curve = train_prompt(
            model, clip, vae, image_prompt_model, clip_vision, motion_model, settings
        )
        return io.NodeOutput(trained, curve, ui=ui.PreviewImage(curve, cls=cls))


NODES = [BuildSubjectDataSet, TrainImagePrompt]
