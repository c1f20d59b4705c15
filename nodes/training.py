"""Nodes that make training clips with ground truth, and train a motion module inside the graph."""

from comfy_api.latest import io, ui

from ..core.data.scene import CAMERAS, MOTIONS
from ..core.data.shapes import GROUNDS, HUES, SHAPES
from .host.schedules import AUTO, CHOICES, UNCHANGED
from .host.sprites import ANY, STILL_CAMERA, WorldSettings, draw_world
from .host.training import TrainingSettings, train_motion_module
from .inputs import amount_input, choice_input, frames_input, learning_rate_input, seed_input, text_input
from .sockets import MOTION_MODEL, TRACKS

CATEGORY = "Choreographer/Training"


def _word(name: str, words, tooltip: str) -> io.Combo.Input:
    return io.Combo.Input(name, options=[ANY, *words], default=ANY, tooltip=tooltip)


def _side(name: str, tooltip: str) -> io.Int.Input:
    return io.Int.Input(name, default=128, min=32, max=2048, step=8, tooltip=tooltip)


class SpriteWorld(io.ComfyNode):
    """A synthetic clip with ground truth."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoSpriteWorld",
            display_name="Sprite World",
            category=CATEGORY,
            description="Draws a clip of moving sprites of which everything is known: where each one is, "
            "which pixels it covers, and a caption. For training, and for trying out nodes that take tracks "
            "or masks.",
            inputs=[
                frames_input(),
                _side("width", "Width of the clip in pixels, a multiple of 8."),
                _side("height", "Height of the clip in pixels, a multiple of 8."),
                seed_input("Decides all that is 'random', and the places, sizes and speeds."),
                _word("shape", SHAPES, "Shape of the first sprite. Every face has features of its own."),
                _word("colour", HUES, "Colour of the first sprite."),
                _word("motion", MOTIONS, "How the first sprite moves."),
                _word("ground", GROUNDS, "What the sprites are on."),
                _word(
                    "camera",
                    [STILL_CAMERA, *filter(None, CAMERAS)],
                    "How the camera moves; 'still' = not at all.",
                ),
                _word(
                    "sprites",
                    ["1", "2"],
                    "How many sprites; a second one is random, and in front of the first.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The clip, one image a frame."),
                TRACKS.Output(
                    display_name="tracks",
                    tooltip="Centre of each sprite at each frame, in pixels, and whether it shows.",
                ),
                io.Mask.Output(
                    display_name="mask", tooltip="Visible pixels of the first sprite at each frame."
                ),
                io.String.Output(
                    display_name="caption", tooltip="One sentence: what is seen, how it moves, the camera."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, frames, width, height, seed, shape, colour, motion, ground, camera, sprites
    ) -> io.NodeOutput:
        """Draw the clip."""
        words = {"shape": shape, "colour": colour, "motion": motion, "ground": ground}
        return io.NodeOutput(*draw_world(WorldSettings(frames, width, height, seed, words, camera, sprites)))


def _step_inputs() -> list:
    """How to train: length, rate, seed, clips, schedule."""
    return [
        io.Int.Input("steps", default=500, min=1, max=1_000_000, tooltip="Training steps."),
        learning_rate_input(
            "Highest learning rate: it rises over the first tenth (at most 50 steps) and falls to a tenth of "
            "this."
        ),
        seed_input(
            "Seed of a fresh module's weights and of all that is drawn while training.", advance=False
        ),
        io.Int.Input(
            "clips_per_step",
            default=1,
            min=1,
            max=64,
            tooltip="Clips seen at each step. More needs more memory.",
        ),
        choice_input(
            "beta_schedule",
            [choice for choice in CHOICES if choice != UNCHANGED],
            "Noise schedule to train with. 'auto' is the given module's own, and linear for a fresh one.",
            default=AUTO,
        ),
    ]


def _loss_inputs() -> list:
    """The terms of CCDM Eq. 13."""
    return [
        amount_input(
            "lambda1",
            0.0,
            "Weight of each frame's neighbours in the loss (CCDM Eq. 13); 0 = plain noise prediction.",
            most=100.0,
        ),
        amount_input(
            "lambda2",
            0.0,
            "Weight of the keyframes in the loss (CCDM Eq. 13); 0 = keyframes do not count more.",
            most=100.0,
        ),
        io.Int.Input(
            "window", default=2, min=0, max=64, tooltip="Neighbours on each side, k of CCDM Eq. 13."
        ),
        text_input("keyframes", "Frames that lambda2 weighs, from 0, as in 0, 15. Empty = none."),
    ]


def _module_inputs() -> list:
    """The module to begin with, and where the trained one goes."""
    return [
        MOTION_MODEL.Input(
            "motion_model",
            optional=True,
            tooltip="Motion module to go on from. Without it a fresh one is made for the model.",
        ),
        text_input(
            "save_prefix",
            "Name to save the trained module under in models/animatediff_models; a number is added. Empty = "
            "not saved.",
        ),
    ]


class TrainMotionModule(io.ComfyNode):
    """A motion module trained on the user's clips."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoTrainMotionModule",
            display_name="Train Motion Module",
            category=CATEGORY,
            is_output_node=True,
            description="Trains a motion module on clips while the image model stays as it is. If you "
            "cancel, what was learnt is kept in output/choreographer_training, and the next run with the "
            "same inputs and settings goes on from there.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="A Stable Diffusion 1.5 image model, without a motion module."
                ),
                io.Clip.Input("clip", tooltip="The text encoder of the checkpoint."),
                io.Latent.Input(
                    "latent", tooltip="The clips, encoded: all frames of the first clip, then of the next."
                ),
                io.Int.Input(
                    "frames", default=16, min=2, max=256, tooltip="Frames of each clip in the latent."
                ),
                io.String.Input(
                    "captions",
                    default="",
                    multiline=True,
                    tooltip="What the clips show: one line a clip, or one line for all. A tenth of them is "
                    "left out in training, for guidance.",
                ),
                *_step_inputs(),
                *_loss_inputs(),
                *_module_inputs(),
            ],
            outputs=[
                MOTION_MODEL.Output(
                    display_name="motion_model", tooltip="The trained module, for 'Apply Motion Module'."
                ),
                io.Image.Output(
                    display_name="loss_curve", tooltip="The loss over the steps, on a log scale."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model, clip, latent, frames, captions, steps, learning_rate, seed, clips_per_step, beta_schedule,
        lambda1, lambda2, window, keyframes="", motion_model=None, save_prefix="",
    ) -> io.NodeOutput:  # fmt: skip
        """Train, and show the loss curve."""
        terms = {
            "lambda1": lambda1,
            "lambda2": lambda2,
            "window": window,
            "keyframes": parse_keyframes(keyframes),
        }
        settings = TrainingSettings(
            frames, steps, learning_rate, seed, clips_per_step, beta_schedule, terms, save_prefix.strip()
        )
        motion, curve = train_motion_module(model, clip, latent, captions, motion_model, settings)
        return io.NodeOutput(motion, curve, ui=ui.PreviewImage(curve, cls=cls))


def parse_keyframes(text: str) -> list[int]:
    """Frame numbers of a list as in "0, 15"; raises ValueError for anything else."""
    words = text.replace(",", " ").split()
    wrong = next((word for word in words if not word.isdecimal()), None)
    if wrong is not None:
        raise ValueError(f"keyframes holds {wrong!r}, expected frame numbers such as 0, 15.")
    return sorted({int(word) for word in words})


NODES = [SpriteWorld, TrainMotionModule]
