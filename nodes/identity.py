"""ID tokens: learn what a few pictures show, load it, and use it in prompts."""

from comfy_api.latest import io, ui

from ..core.identity.tokens import CLASS, SLOT, START
from ..core.schedules import SCHEDULES
from .host import files
from .host.identity import EMBEDDINGS, apply_id_tokens, load_id_tokens
from .host.identity_training import IdSettings, train_id_tokens
from .inputs import choice_input, learning_rate_input, seed_input, text_input
from .sockets import ID_TOKENS

CATEGORY = "Choreographer/Identity"


def _tokens_output(tooltip: str):
    return ID_TOKENS.Output(display_name="id_tokens", tooltip=tooltip)


def _text_inputs() -> list:
    return [
        io.String.Input(
            "name",
            default="me",
            tooltip="What prompts will call the subject: embedding:NAME. Letters, digits, '_', '-' and '.'.",
        ),
        io.String.Input(
            "class_word",
            default="man",
            tooltip="What kind of thing it is, such as woman, dog or robot. Stands where the prompt has "
            f"{CLASS}.",
        ),
        io.String.Input(
            "prompt",
            default=f"photo of a {SLOT} {CLASS}",
            tooltip=f"What the pictures show: {SLOT} is where the tokens go, {CLASS} the class word.",
        ),
        io.String.Input(
            "start_words",
            default=START,
            tooltip="The new tokens begin as the tokens of these words, and there are as many. Rare words "
            "bring no meaning along; #42170 is a row of the vocabulary. Three to six tokens are usual.",
        ),
    ]


def _step_inputs() -> list:
    return [
        io.Int.Input("steps", default=200, min=1, max=100_000, tooltip="Training steps: 200 to 400."),
        learning_rate_input("How far each step goes; the same all the time.", default=1e-3, step=1e-6),
        seed_input("Decides the variations of the pictures and all noise.", advance=False),
        io.Int.Input(
            "pictures_per_step",
            default=4,
            min=1,
            max=64,
            tooltip="Varied pictures seen at each step. More needs more memory.",
        ),
        io.Int.Input(
            "size",
            default=512,
            min=64,
            max=2048,
            step=8,
            tooltip="Side in pixels of the square that each picture is fitted into whole: 512 for Stable "
            "Diffusion 1.5, 128 for the demo models.",
        ),
    ]


def _learning_inputs() -> list:
    return [
        choice_input(
            "beta_schedule",
            SCHEDULES,
            "Noise schedule to train with: linear is that of AnimateDiff's motion modules, scaled_linear "
            "that of plain Stable Diffusion 1.5.",
            default="linear",
        ),
        io.Boolean.Input(
            "mirror",
            default=True,
            tooltip="Also show the pictures mirrored. Off for a subject whose sides differ, or with writing.",
        ),
        text_input(
            "save_prefix",
            "Name to save the tokens under in models/embeddings; a number is added. Empty = not saved.",
        ),
        io.Mask.Input(
            "masks",
            optional=True,
            tooltip="The subject in each picture, from 'Subject Mask' or painted. Only what they cover is "
            "learnt. Empty = everything is.",
        ),
    ]


class TrainIdTokens(io.ComfyNode):
    """Extended ID tokens learnt from a few pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoTrainIdTokens",
            display_name="Train ID Tokens",
            category=CATEGORY,
            is_output_node=True,
            description="Learns a person, animal or thing from three or more pictures, as a few new words of "
            "the text encoder; the models stay as they are. If you cancel, what was learnt is kept: in the "
            "file, if you asked for one, and for the next run with the same inputs and settings.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="A Stable Diffusion 1.5 image model, without a motion module."
                ),
                io.Clip.Input("clip", tooltip="The text encoder of the checkpoint."),
                io.Vae.Input("vae", tooltip="The VAE of the checkpoint."),
                io.Image.Input("images", tooltip="Pictures of the subject, one batch."),
                *_text_inputs(),
                *_step_inputs(),
                *_learning_inputs(),
            ],
            outputs=[
                _tokens_output("The tokens, for 'Apply ID Tokens'."),
                io.Image.Output(
                    display_name="loss_curve", tooltip="The loss over the steps, on a log scale."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model, clip, vae, images, name, class_word, prompt, start_words, steps, learning_rate, seed,
        pictures_per_step, size, beta_schedule, mirror, save_prefix="", masks=None,
    ) -> io.NodeOutput:  # fmt: skip
        """Train, and show the loss curve."""
        settings = IdSettings(
            name.strip(), prompt, class_word, start_words, steps, learning_rate, seed, pictures_per_step,
            size, beta_schedule, masks is not None, mirror, save_prefix.strip(),
        )  # fmt: skip
        tokens, curve = train_id_tokens(model, clip, vae, images, masks, settings)
        return io.NodeOutput(tokens, curve, ui=ui.PreviewImage(curve, cls=cls))


class LoadIdTokens(io.ComfyNode):
    """ID tokens from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoLoadIdTokens",
            display_name="Load ID Tokens",
            category=CATEGORY,
            description="Reads ID tokens: Magic-Me's files, this pack's own, and any textual-inversion "
            "embedding for Stable Diffusion 1.5.",
            inputs=[
                io.Combo.Input(
                    "file", options=files.file_names(EMBEDDINGS), tooltip="A file in models/embeddings."
                ),
                text_input("name", "What prompts will call it: embedding:NAME. Empty = as the file."),
            ],
            outputs=[_tokens_output("The tokens, for 'Apply ID Tokens'.")],
        )

    @classmethod
    def execute(cls, file, name="") -> io.NodeOutput:
        """Read the file."""
        return io.NodeOutput(load_id_tokens(file, name))


class ApplyIdTokens(io.ComfyNode):
    """A CLIP that knows ID tokens by name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoApplyIdTokens",
            display_name="Apply ID Tokens",
            category=CATEGORY,
            description="Teaches a text encoder the name of ID tokens: any text node after it understands "
            "embedding:NAME. Chain several for several subjects. No file is needed.",
            inputs=[
                io.Clip.Input("clip", tooltip="Text encoder of a Stable Diffusion 1.5 checkpoint."),
                ID_TOKENS.Input("id_tokens", tooltip="From 'Train ID Tokens' or 'Load ID Tokens'."),
            ],
            outputs=[
                io.Clip.Output(display_name="clip", tooltip="The text encoder, for text nodes."),
                io.String.Output(
                    display_name="word", tooltip="What to write in prompts, as in embedding:me."
                ),
            ],
        )

    @classmethod
    def execute(cls, clip, id_tokens) -> io.NodeOutput:
        """Teach a clone."""
        return io.NodeOutput(apply_id_tokens(clip, id_tokens), f"embedding:{id_tokens.name}")


NODES = [TrainIdTokens, LoadIdTokens, ApplyIdTokens]
