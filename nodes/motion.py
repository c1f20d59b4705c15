"""Motion modules: load them, change them by LoRAs, put them on a model."""

from comfy_api.latest import io

from ..core.prompts.schedule import parse_values
from .host import files
from .host.loras import apply_domain_adapter, apply_motion_lora
from .host.patching import MotionOptions, apply_motion_module
from .host.schedules import AUTO, CHOICES
from .inputs import amount_input, choice_input, percent_inputs, text_input
from .sockets import MOTION_MODEL

CATEGORY = "Choreographer/Motion"

files.register_folders()


def _strength(what: str) -> io.Float.Input:
    return io.Float.Input(
        "strength",
        default=1.0,
        min=-10.0,
        max=10.0,
        step=0.05,
        tooltip=f"How strongly the {what} acts: 0 = not at all, 1 = as trained, negative = the opposite.",
    )


class LoadMotionModule(io.ComfyNode):
    """A motion module file as a MOTION_MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoLoadMotionModule",
            display_name="Load Motion Module",
            category=CATEGORY,
            description="Load a motion module: AnimateDiff v1, v2 or v3 files, diffusers motion adapters, "
            "and this pack's own.",
            inputs=[
                io.Combo.Input(
                    "motion_module",
                    options=files.file_names(files.MOTION_MODULES),
                    tooltip="A file in ComfyUI/models/animatediff_models. The kind of file is recognised.",
                )
            ],
            outputs=[
                MOTION_MODEL.Output(
                    display_name="motion_model", tooltip="The module, for 'Apply Motion Module'."
                )
            ],
        )

    @classmethod
    def execute(cls, motion_module) -> io.NodeOutput:
        """Read the file."""
        return io.NodeOutput(files.load_motion_module(motion_module))


class LoadMotionLora(io.ComfyNode):
    """A motion LoRA on a MOTION_MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoLoadMotionLora",
            display_name="Load Motion LoRA",
            category=CATEGORY,
            description="Add a motion LoRA, such as a camera move, to a motion module. Chain several to mix "
            "them.",
            inputs=[
                MOTION_MODEL.Input(
                    "motion_model", tooltip="The motion module, or the output of another 'Load Motion LoRA'."
                ),
                io.Combo.Input(
                    "lora",
                    options=files.file_names(files.MOTION_LORAS),
                    tooltip="A file in ComfyUI/models/animatediff_motion_lora. It must be made for this "
                    "version of motion module.",
                ),
                _strength("LoRA"),
            ],
            outputs=[
                MOTION_MODEL.Output(
                    display_name="motion_model", tooltip="The motion module with the LoRA on it."
                )
            ],
        )

    @classmethod
    def execute(cls, motion_model, lora, strength) -> io.NodeOutput:
        """Patch a clone."""
        return io.NodeOutput(
            apply_motion_lora(motion_model, files.full_path(files.MOTION_LORAS, lora), strength)
        )


class ApplyDomainAdapter(io.ComfyNode):
    """AnimateDiff v3's image LoRA on a MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoApplyDomainAdapter",
            display_name="Apply Domain Adapter",
            category=CATEGORY,
            description="Put AnimateDiff v3's domain adapter on the image model: it gives the look of the "
            "videos that the motion module was trained on. Leave it out, or lower it, for the look of the "
            "checkpoint.",
            inputs=[
                io.Model.Input("model", tooltip="The image model, before or after 'Apply Motion Module'."),
                io.Combo.Input(
                    "adapter",
                    options=files.file_names(files.LORAS),
                    tooltip="The adapter's file in ComfyUI/models/loras, for example v3_sd15_adapter.ckpt.",
                ),
                _strength("adapter"),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The image model with the adapter on it.")
            ],
        )

    @classmethod
    def execute(cls, model, adapter, strength) -> io.NodeOutput:
        """Patch a clone."""
        return io.NodeOutput(apply_domain_adapter(model, files.full_path(files.LORAS, adapter), strength))


def _when_and_how_much() -> list:
    return [
        amount_input(
            "scale",
            1.0,
            "Sharpness of the attention between frames. Above 1 a frame follows the frames most like it, "
            "below 1 it averages more of them.",
            most=10.0,
        ),
        amount_input(
            "effect",
            1.0,
            "How much of the module's change is added: 0 = separate images, 1 = as trained.",
            most=10.0,
        ),
        *percent_inputs(
            "When in sampling the module begins to act: 0 = the first, noisiest step.",
            "When in sampling the module stops acting: 1 = it acts to the last step.",
        ),
    ]


class ApplyMotionModule(io.ComfyNode):
    """A MODEL that samples its latent batch as one clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoApplyMotionModule",
            display_name="Apply Motion Module",
            category=CATEGORY,
            description="Let an image model sample clips: the latent batch becomes the frames of one clip. "
            "Any stock sampler, LoRA, ControlNet and guidance node still works, before or after this node.",
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.5 image model."),
                MOTION_MODEL.Input(
                    "motion_model", tooltip="From 'Load Motion Module' or 'Load Motion LoRA'."
                ),
                *_when_and_how_much(),
                choice_input(
                    "beta_schedule",
                    CHOICES,
                    "Noise schedule to sample with. 'auto' is what the motion module was trained with, "
                    "'unchanged' is the checkpoint's own; a wrong one gives dull or over-exposed clips.",
                    default=AUTO,
                ),
                text_input(
                    "effect_schedule",
                    "Effect at frames, as in 0:1.0, 8:0.5; frames between blend, and 'effect' multiplies "
                    "all. Empty = the same effect for every frame.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with motion, for a sampler.")],
        )

    @classmethod
    def execute(
        cls, model, motion_model, scale, effect, start_percent, end_percent, beta_schedule, effect_schedule=""
    ) -> io.NodeOutput:
        """Patch a clone."""
        keys = parse_values(effect_schedule, "effect_schedule")
        options = MotionOptions(scale, effect, start_percent, end_percent, beta_schedule, keys)
        return io.NodeOutput(apply_motion_module(model, motion_model, options))


NODES = [LoadMotionModule, LoadMotionLora, ApplyDomainAdapter, ApplyMotionModule]
