"""Fusion inside sampling."""

from comfy_api.latest import io

from ..core.fusion.stream import Fusion
from .host.feedback import ClipFuser, FeedbackOptions, apply_feedback, parse_percents
from .inputs import amount_input
from .sockets import KEYFRAMES


def _settings() -> list:
    return [
        io.String.Input(
            "percents",
            default="0.5, 0.8",
            tooltip="When in sampling the clip is fused, as in 0.5, 0.8: 0 = start, 1 = the last step. Each "
            "costs a decoding, a fusion and two encodings. Early ones steady motion, late ones detail.",
        ),
        io.Int.Input(
            "window",
            default=2,
            min=0,
            max=64,
            tooltip="Frames before and after that each frame is fused with. More is steadier, blurs more and "
            "takes longer.",
        ),
        amount_input(
            "strength", 1.0, "How much of the change by fusion goes back into sampling: 0 = none, 1 = all."
        ),
    ]


class FusionFeedback(io.ComfyNode):
    """A MODEL whose clips are fused while they are sampled."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoFusionFeedback",
            display_name="Fusion Feedback",
            category="Choreographer/Fusion",
            description="Remove flicker while sampling: at chosen points the predicted clip is decoded, its "
            "frames are fused with their neighbours and keyframes, and sampling goes on from the result. "
            "Works with any stock sampler.",
            inputs=[
                io.Model.Input("model", tooltip="The model, before or after 'Apply Motion Module'."),
                io.Vae.Input("vae", tooltip="The VAE of the model."),
                *_settings(),
                KEYFRAMES.Input(
                    "keyframes",
                    optional=True,
                    tooltip="Keyframes that the clip is drawn to as well. Empty = none.",
                ),
                io.Vae.Input(
                    "fast_vae",
                    optional=True,
                    tooltip="A faster VAE for all passes but the last, for example 'taesd' from 'Load VAE'. "
                    "Empty = the VAE above.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with feedback, for a sampler.")
            ],
        )

    @classmethod
    def execute(cls, model, vae, percents, window, strength, keyframes=None, fast_vae=None) -> io.NodeOutput:
        """Patch a clone."""
        options = FeedbackOptions(parse_percents(percents), strength)
        # flicker of an early prediction can look like cuts, so cuts are not looked for
        fuser = ClipFuser(Fusion(window=window, split=False), keyframes)
        return io.NodeOutput(apply_feedback(model, vae, fuser, options, fast_vae))


NODES = [FusionFeedback]
