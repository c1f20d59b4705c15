"""Image attention: clips look at pictures of their subject while they are sampled."""

from comfy_api.latest import io

from ..core.image_prompt.options import ALL, PLACEMENTS, AttentionOptions, parse_factors
from ..core.prompts.schedule import parse_values
from .host.image_attention import apply_image_attention
from .image_prompt import CATEGORY, report_output
from .inputs import choice_input, percent_inputs, seed_input, text_input
from .sockets import IMAGE_PROMPT, IMAGE_PROMPT_MODEL


def _when_and_where() -> list:
    return [
        *percent_inputs(
            "When in sampling it begins: 0 = the first step.",
            "When in sampling it stops: 1 = after the last step.",
        ),
        io.String.Input(
            "layers",
            default="1, 2, 4, 8",
            tooltip="Which layers look at the pictures, by how much coarser than the latents they are: 1 "
            "sees texture, 8 only what kind of thing it is.",
        ),
        choice_input(
            "placement",
            PLACEMENTS,
            "Several pictures: 'all frames' look at all of them, or they are 'spread' over the clip, one "
            "fading into the next.",
            default=ALL,
        ),
        io.Float.Input(
            "positions",
            default=0.0,
            min=-4.0,
            max=4.0,
            step=0.01,
            tooltip="Tell the attention where in space and time everything is: added to what a model was "
            "trained with. 0 = as trained, or without.",
        ),
    ]


def _what() -> list:
    return [
        IMAGE_PROMPT_MODEL.Input(
            "image_prompt_model",
            optional=True,
            tooltip="Trained weights for this model. Without them the model's own are used.",
        ),
        IMAGE_PROMPT.Input(
            "image_prompt",
            optional=True,
            tooltip="The pictures to look at. Without them the trained weights alone are applied.",
        ),
        io.Vae.Input("vae", optional=True, tooltip="The checkpoint's VAE; needed for pictures."),
        io.Conditioning.Input(
            "picture_text",
            optional=True,
            tooltip="What the pictures' own pass through the model is told. Without it, the negative prompt; "
            "published models want the word None there.",
        ),
        text_input(
            "weights",
            "Strength at frames, as in 0:1.0, 8:0.5; one line for all pictures, or one each. Empty = 1.",
            multiline=True,
        ),
        io.Boolean.Input(
            "published_details",
            default=False,
            optional=True,
            tooltip="As the published code: its noise schedule, norms over frames, guidance on three of the "
            "four channels, the picture as a clip with fresh noise. For VideoBooth's weights; use cfg 4.",
        ),
    ]


class ApplyImageAttention(io.ComfyNode):
    """A MODEL whose clips look at pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoApplyImageAttention",
            display_name="Apply Image Attention",
            category=CATEGORY,
            description="Let the clip look at pictures of its subject while it is sampled. The first frame "
            "sees them, and every frame the first and the one before. Works before or after 'Apply Motion "
            "Module'.",
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.5 image model."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="How strongly the pictures act: 0 = not at all, 1 = as trained, more = they "
                    "count more often than the clip.",
                ),
                *_when_and_where(),
                seed_input("Seed of the noise that the pictures get, step by step as much as the clip has."),
                *_what(),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model that looks at the pictures."),
                report_output(),
            ],
        )

    @classmethod
    def execute(
        cls, model, strength, start_percent, end_percent, layers, placement, positions, seed,
        image_prompt_model=None, image_prompt=None, vae=None, picture_text=None, weights="",
        published_details=False,
    ) -> io.NodeOutput:  # fmt: skip
        """Patch a clone."""
        schedules = tuple(parse_values(line, "weights") for line in weights.splitlines() if line.strip())
        options = AttentionOptions(
            strength, start_percent, end_percent, parse_factors(layers), placement, schedules, positions,
            seed, published_details,
        )  # fmt: skip
        pictures = image_prompt.pictures if image_prompt is not None else ()
        text = picture_text[0][0][:1] if picture_text is not None else None
        patched = apply_image_attention(model, image_prompt_model, pictures, vae, text, options)
        sizes = image_prompt_model and image_prompt_model.model.config
        replaces = bool(sizes and (sizes.text or sizes.fine))
        return io.NodeOutput(patched, options.report(len(pictures), bool(sizes), replaces))


NODES = [ApplyImageAttention]
