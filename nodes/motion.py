"""Motion modules: load, change by LoRAs, put on a model, and sample clips longer than they know."""

from comfy_api.latest import io

from ..core.prompts.schedule import parse_values
from .host import files
from .host.loras import apply_domain_adapter, apply_motion_lora
from .host.patching import MotionOptions, apply_motion_module
from .host.schedules import AUTO, CHOICES
from .host.windows import FUSE_METHODS, SCHEDULES, apply_context_windows
from .sockets import MOTION_MODEL

CATEGORY = "Choreographer/Motion"

files.register_folders()


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
            description="Add a motion LoRA, such as a camera move, to a motion module. Chain several to "
            "mix them.",
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
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How strongly the LoRA acts: 0 = not at all, 1 = as trained, negative = the "
                    "opposite move.",
                ),
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
            "videos that the motion "
            "module was trained on. Leave it out, or lower it, for the look of the checkpoint.",
            inputs=[
                io.Model.Input("model", tooltip="The image model, before or after 'Apply Motion Module'."),
                io.Combo.Input(
                    "adapter",
                    options=files.file_names(files.LORAS),
                    tooltip="The adapter's file in ComfyUI/models/loras, for example v3_sd15_adapter.ckpt.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How strongly the adapter acts: 0 = not at all, 1 = as trained.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The image model with the adapter on it.")
            ],
        )

    @classmethod
    def execute(cls, model, adapter, strength) -> io.NodeOutput:
        """Patch a clone."""
        return io.NodeOutput(apply_domain_adapter(model, files.full_path(files.LORAS, adapter), strength))


def _percent(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


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
            "Any stock sampler, LoRA, "
            "ControlNet and guidance node still works, before or after this node.",
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.5 image model."),
                MOTION_MODEL.Input(
                    "motion_model", tooltip="From 'Load Motion Module', with or without motion LoRAs."
                ),
                io.Float.Input(
                    "scale",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Sharpness of the attention between frames. Above 1 a frame follows the frames "
                    "most like it, below 1 it "
                    "averages more of them.",
                ),
                io.Float.Input(
                    "effect",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="How much of the module's change is added: 0 = separate images, 1 = as trained.",
                ),
                _percent(
                    "start_percent",
                    0.0,
                    "When in sampling the module begins to act: 0 = from the first, noisiest step.",
                ),
                _percent(
                    "end_percent",
                    1.0,
                    "When in sampling the module stops acting: 1 = it acts to the last step.",
                ),
                io.Combo.Input(
                    "beta_schedule",
                    options=CHOICES,
                    default=AUTO,
                    tooltip="Noise schedule to sample with. 'auto' is the one that the motion module was "
                    "trained with, 'unchanged' the "
                    "checkpoint's own; a wrong one gives dull or over-exposed clips.",
                ),
                io.String.Input(
                    "effect_schedule",
                    default="",
                    optional=True,
                    tooltip="Effect at frames, as in 0:1.0, 8:0.5; frames between blend, and 'effect' "
                    "multiplies all. Empty = the "
                    "same effect for every frame.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with motion, for a sampler.")],
        )

    @classmethod
    def execute(
        cls, model, motion_model, scale, effect, start_percent, end_percent, beta_schedule, effect_schedule=""
    ) -> io.NodeOutput:
        """Patch a clone."""
        keys = parse_values(effect_schedule)
        options = MotionOptions(scale, effect, start_percent, end_percent, beta_schedule, keys)
        return io.NodeOutput(apply_motion_module(model, motion_model, options))


class ContextWindows(io.ComfyNode):
    """A MODEL that samples long clips in windows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoContextWindows",
            display_name="Context Windows",
            category=CATEGORY,
            description="Sample clips longer than the motion module knows, in overlapping windows that are "
            "blended at every step. "
            "Prompt schedules, masks and ControlNet images follow their frames. Memory stays that of one "
            "window.",
            inputs=[
                io.Model.Input("model", tooltip="The model, before or after 'Apply Motion Module'."),
                io.Int.Input(
                    "length",
                    default=16,
                    min=2,
                    max=256,
                    tooltip="Frames of a window: what the motion module was trained with, mostly 16. "
                    "Shorter clips are not divided.",
                ),
                io.Int.Input(
                    "overlap",
                    default=4,
                    min=0,
                    max=255,
                    tooltip="Frames that neighbouring windows share. More is smoother and slower.",
                ),
                io.Combo.Input(
                    "schedule",
                    options=SCHEDULES,
                    default="standard_uniform",
                    tooltip="Where windows lie. standard_uniform: they shift from step to step, which "
                    "hides seams. looped_uniform: the "
                    "same, going round the end, for clips that loop. standard_static: always the same. "
                    "batched: no overlap.",
                ),
                io.Combo.Input(
                    "fuse",
                    options=FUSE_METHODS,
                    default="pyramid",
                    tooltip="How the frames of overlapping windows are averaged. pyramid: the middle of a "
                    "window counts most. relative: "
                    "the same, one window after the other. flat: all the same. overlap-linear: fade over "
                    "the overlap only.",
                ),
                io.Int.Input(
                    "stride",
                    default=1,
                    min=1,
                    max=8,
                    tooltip="Uniform schedules only: above 1 adds windows that take every 2nd, 4th, ... "
                    "frame, for coherence over "
                    "longer times.",
                ),
                io.Boolean.Input(
                    "closed_loop",
                    default=False,
                    tooltip="looped_uniform only: windows also join the last frames to the first, so that "
                    "the clip loops.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model that samples in windows.")],
        )

    @classmethod
    def execute(cls, model, length, overlap, schedule, fuse, stride, closed_loop) -> io.NodeOutput:
        """Patch a clone."""
        return io.NodeOutput(
            apply_context_windows(model, schedule, fuse, length, overlap, stride, closed_loop)
        )


NODES = [LoadMotionModule, LoadMotionLora, ApplyDomainAdapter, ApplyMotionModule, ContextWindows]
