"""Consistency without a motion module: sparse-causal attention, tuning on one video, DDIM inversion."""

from comfy_api.latest import io, ui

from ..core.training.tune import LEARNING_RATE
from .host import files
from .host.tuning import TuningOptions, apply_tuning, inverted, load_tuning_file
from .host.tuning_training import TuneSettings, tune_on_clip
from .inputs import amount_input, learning_rate_input, percent_inputs, seed_input, text_input
from .sockets import VIDEO_TUNING

CATEGORY = "Choreographer/Tuning"
WHEN = ("When in sampling it begins: 0 = the first, noisiest step.", "When it ends: 1 = with the last step.")


def _shared_norm(tooltip: str) -> io.Boolean.Input:
    return io.Boolean.Input("clip_norms", default=False, tooltip=tooltip)


def _model() -> io.Model.Output:
    return io.Model.Output(display_name="model", tooltip="The model, for a sampler.")


class SparseCausalAttention(io.ComfyNode):
    """A MODEL whose frames look at the first one and the one before."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoSparseCausalAttention",
            display_name="Sparse-Causal Attention",
            category=CATEGORY,
            description="Make the frames of a batch look alike, with any Stable Diffusion 1.5 model and no "
            "training: each frame's self-attention looks at the first frame and at the one before.",
            inputs=[
                io.Model.Input("model", tooltip="An image model; LoRAs and ControlNets keep working."),
                amount_input(
                    "strength", 1.0, "How much of the self-attention is replaced: 0 = none, 1 = all."
                ),
                *percent_inputs(*WHEN),
                _shared_norm(
                    "Take the statistics of the UNet's norms over all frames, as Tune-A-Video's code does. "
                    "Off is nearer to the image model."
                ),
            ],
            outputs=[_model()],
        )

    @classmethod
    def execute(cls, model, strength, start_percent, end_percent, clip_norms) -> io.NodeOutput:
        """Patch a clone."""
        options = TuningOptions(strength, 1.0, start_percent, end_percent, clip_norms)
        return io.NodeOutput(apply_tuning(model, None, options))


class TuneOnVideo(io.ComfyNode):
    """A tuning learnt from one clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoTuneOnVideo",
            display_name="Tune on Video",
            category=CATEGORY,
            is_output_node=True,
            description="Tune an image model on one clip (Tune-A-Video), so that another prompt gives "
            "another clip with the same motion. If you cancel, what was learnt is kept, and the next run "
            "with the same inputs and settings goes on.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="An image model that predicts noise or v, without a motion module."
                ),
                io.Clip.Input("clip", tooltip="The text encoder of the checkpoint."),
                io.Latent.Input("latent", tooltip="The clip, encoded: one latent a frame, 4 to 24 frames."),
                io.String.Input("caption", default="", multiline=True, tooltip="What the clip shows."),
                io.Int.Input("steps", default=300, min=1, max=100_000, tooltip="Training steps: 300 to 500."),
                learning_rate_input(
                    "How fast it learns; the published value suits Stable Diffusion 1.5, the demo models "
                    "need more (0.001).",
                    default=LEARNING_RATE,
                ),
                seed_input("Seed of the new weights and of all that is drawn while training.", advance=False),
                _shared_norm(
                    "Take the statistics of the UNet's norms over all frames, as the published code does."
                ),
                text_input(
                    "save_prefix",
                    "Name to save the tuning under in models/loras; a number is added. Empty = not saved.",
                ),
            ],
            outputs=[
                VIDEO_TUNING.Output(
                    display_name="tuning", tooltip="What was learnt, for 'Apply Video Tuning'."
                ),
                io.Image.Output(
                    display_name="loss_curve", tooltip="The loss over the steps, on a log scale."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model, clip, latent, caption, steps, learning_rate, seed, clip_norms, save_prefix=""
    ) -> io.NodeOutput:
        """Train, and show the loss curve."""
        settings = TuneSettings(steps, learning_rate, seed, clip_norms, save_prefix.strip())
        tuning, curve = tune_on_clip(model, clip, latent, caption.strip(), settings)
        return io.NodeOutput(tuning, curve, ui=ui.PreviewImage(curve, cls=cls))


class LoadVideoTuning(io.ComfyNode):
    """A tuning from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoLoadVideoTuning",
            display_name="Load Video Tuning",
            category=CATEGORY,
            description="Load what 'Tune on Video' has saved, or a UNet of Tune-A-Video.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files.file_names(files.LORAS),
                    tooltip="A file in ComfyUI/models/loras. The kind of file is recognised.",
                )
            ],
            outputs=[
                VIDEO_TUNING.Output(display_name="tuning", tooltip="The tuning, for 'Apply Video Tuning'.")
            ],
        )

    @classmethod
    def execute(cls, file) -> io.NodeOutput:
        """Read the file."""
        return io.NodeOutput(load_tuning_file(files.full_path(files.LORAS, file)))


class ApplyVideoTuning(io.ComfyNode):
    """A MODEL with a tuning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoApplyVideoTuning",
            display_name="Apply Video Tuning",
            category=CATEGORY,
            description="Make a model sample clips as a tuning has learnt it: sparse-causal attention, tuned "
            "queries and attention over frames.",
            inputs=[
                io.Model.Input("model", tooltip="The model that it was tuned on, or a sibling of it."),
                VIDEO_TUNING.Input("tuning", tooltip="From 'Tune on Video' or 'Load Video Tuning'."),
                amount_input("strength", 1.0, "How much of what was learnt acts: 1 = as trained.", most=2.0),
                amount_input(
                    "causal", 1.0, "How much of the self-attention is sparse-causal: 1 = as trained."
                ),
                *percent_inputs(*WHEN),
            ],
            outputs=[_model()],
        )

    @classmethod
    def execute(cls, model, tuning, strength, causal, start_percent, end_percent) -> io.NodeOutput:
        """Patch a clone."""
        options = TuningOptions(causal, strength, start_percent, end_percent)
        return io.NodeOutput(apply_tuning(model, tuning, options))


class DdimInversion(io.ComfyNode):
    """The noise that a clip comes from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoDdimInversion",
            display_name="DDIM Inversion",
            category=CATEGORY,
            description="Find the noise from which deterministic sampling makes a given clip. Sample from it "
            "with another prompt to edit the clip: 'KSampler (Advanced)' with add_noise off, sampler ddim or "
            "euler. 'SaveLatent' keeps the result. Works on models that predict noise and on those that "
            "predict v.",
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample, with its tuning applied."),
                io.Conditioning.Input(
                    "conditioning", tooltip="The prompt to invert with: usually an empty one."
                ),
                io.Latent.Input("latent", tooltip="The clip, encoded."),
                io.Sigmas.Input(
                    "sigmas",
                    tooltip="The schedule that will be sampled, from 'BasicScheduler' with the same "
                    "scheduler and steps, denoise 1.",
                ),
                io.Int.Input(
                    "refine",
                    default=0,
                    min=0,
                    max=20,
                    tooltip="Times that each step is corrected. 0: as published. 1 to 3: nearer to the "
                    "source, each costs as much time as the inversion itself.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent", tooltip="The noise, for samplers that add none themselves."
                )
            ],
        )

    @classmethod
    def execute(cls, model, conditioning, latent, sigmas, refine) -> io.NodeOutput:
        """Invert."""
        return io.NodeOutput(inverted(model, conditioning, latent, sigmas, refine))


NODES = [SparseCausalAttention, TuneOnVideo, LoadVideoTuning, ApplyVideoTuning, DdimInversion]
