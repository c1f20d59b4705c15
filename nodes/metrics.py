"""Node that measures a clip: motion, steadiness, and likeness to a reference, to pictures and to a prompt."""

from dataclasses import replace

from comfy_api.latest import io

from ..core.metrics.features import FeatureScores
from ..core.metrics.plot import plot
from ..core.metrics.report import check_measurable, mean, measure
from .host.features import NONE, feature_folders, feature_scores
from .host.progress import reporter
from .inputs import text_input


def _features() -> list:
    """The inputs that features are measured by."""
    return [
        io.ClipVision.Input(
            "clip_vision",
            optional=True,
            tooltip="A CLIP or DINOv2 vision model from 'Load CLIP Vision': gives temporal consistency, and "
            "likeness to the references (CLIP-I or DINO).",
        ),
        io.Image.Input(
            "references",
            optional=True,
            tooltip="Pictures of the subject, of any number, all of one size. Empty = likeness is not "
            "measured.",
        ),
        io.Combo.Input(
            "feature_folder",
            options=feature_folders(),
            default=NONE,
            optional=True,
            tooltip="A folder in models/clip_vision with a model of the transformers library, used instead "
            "of clip_vision. A whole CLIP model can compare with the prompt too.",
        ),
        text_input(
            "prompt",
            "What the clip should show, for likeness to the text (CLIP-T). Needs a whole CLIP model as "
            "feature_folder. Empty = not measured.",
            multiline=True,
        ),
    ]


def _motions() -> list:
    """The outputs of motion, steadiness and likeness to the reference."""
    return [
        io.String.Output(display_name="report", tooltip="All numbers as JSON, per frame and as means."),
        io.Float.Output(display_name="flow_total", tooltip="Sum of Farneback flow over all pixels, px."),
        io.Float.Output(display_name="flow_mean", tooltip="Mean Farneback flow, pixels a frame."),
        io.Float.Output(display_name="flow_percent", tooltip="flow_mean in percent of the image diagonal."),
        io.Float.Output(display_name="dis_flow_mean", tooltip="Mean DIS flow, pixels a frame; more exact."),
        io.Float.Output(
            display_name="warped_difference",
            tooltip="Mean change between frames after their motion is taken out, 0 to 255; lower is "
            "steadier.",
        ),
        io.Float.Output(
            display_name="psnr", tooltip="Mean PSNR to the reference in dB, at most 60; else NaN."
        ),
        io.Float.Output(display_name="ssim", tooltip="Mean SSIM to the reference, at most 1; else NaN."),
        io.Image.Output(display_name="plot", tooltip="The numbers of each frame as curves."),
    ]


def _likenesses() -> list:
    """The outputs that came later than the others."""
    return [
        io.String.Output(display_name="text", tooltip="The means with their units, one a line."),
        io.Float.Output(display_name="jitter", tooltip="Mean change of motion, pixels a frame squared."),
        io.Float.Output(
            display_name="sharpness", tooltip="Mean variance of the Laplacian; lower means blur or ghosts."
        ),
        io.Float.Output(
            display_name="temporal_consistency",
            tooltip="Mean cosine of the features of neighbouring frames; NaN without a feature model.",
        ),
        io.Float.Output(
            display_name="likeness", tooltip="Mean cosine to the references (CLIP-I, DINO); else NaN."
        ),
        io.Float.Output(
            display_name="text_likeness", tooltip="Mean cosine to the prompt (CLIP-T); else NaN."
        ),
    ]


class VideoMetrics(io.ComfyNode):
    """Flow rating, warped difference, jitter, sharpness, PSNR, SSIM and likeness by features of one clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoVideoMetrics",
            display_name="Video Metrics",
            category="Choreographer/Metrics",
            description="Measures a clip: how much it moves (optical flow), how steady it is (warped "
            "difference, jitter), and how close it is to a reference (PSNR, SSIM), to pictures and to a "
            "prompt (CLIP or DINO features).",
            inputs=[
                io.Image.Input("frames", tooltip="The clip, at least 2 frames of at least 16x16 pixels."),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="Clip of the same size and length, or one still, to compare with. A clip also "
                    "gives the motion that the warped difference takes out.",
                ),
                *_features(),
            ],
            outputs=[*_motions(), *_likenesses()],
        )

    @classmethod
    def execute(
        cls, frames, reference=None, clip_vision=None, references=None, feature_folder=NONE, prompt=""
    ) -> io.NodeOutput:
        """Measure, and draw the curves."""
        check_measurable(frames, reference)
        seen = feature_scores(frames, clip_vision, feature_folder, references, prompt)
        found = replace(measure(frames, reference, reporter()), features=seen)
        rating, seen = found.farneback, seen or FeatureScores(())
        means = (found.warped_difference, found.psnr, found.ssim)
        later = (found.jitter, found.sharpness, seen.consistency, seen.likeness, seen.text)
        return io.NodeOutput(
            found.as_json(),
            *(rating.total_px, rating.mean_px, rating.mean_over_diagonal, found.dis.mean_px),
            *map(mean, means),
            plot(found.curves())[None],
            found.text(),
            *map(mean, later),
        )


NODES = [VideoMetrics]
