"""Node that measures a clip: motion, steadiness, and likeness to a reference."""

from comfy_api.latest import io

from ..core.metrics.plot import plot
from ..core.metrics.report import mean, measure
from .host.progress import reporter


class VideoMetrics(io.ComfyNode):
    """Flow rating, warped difference, PSNR and SSIM of one clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoVideoMetrics",
            display_name="Video Metrics",
            category="Choreographer/Metrics",
            description="Measures a clip: how much it moves (optical flow), how steady it is (warped "
            "difference), and how close it is to a reference (PSNR, SSIM).",
            inputs=[
                io.Image.Input("frames", tooltip="The clip, at least 2 frames of at least 16x16 pixels."),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="Clip of the same size and length, or one still, to compare with. A clip also "
                    "gives the motion that the warped difference takes out.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="report", tooltip="All numbers as JSON, per frame and as means."
                ),
                io.Float.Output(
                    display_name="flow_total", tooltip="Sum of Farneback flow over all pixels, px."
                ),
                io.Float.Output(display_name="flow_mean", tooltip="Mean Farneback flow, pixels a frame."),
                io.Float.Output(
                    display_name="flow_percent", tooltip="flow_mean in percent of the image diagonal."
                ),
                io.Float.Output(
                    display_name="dis_flow_mean", tooltip="Mean DIS flow, pixels a frame; more exact."
                ),
                io.Float.Output(
                    display_name="warped_difference",
                    tooltip="Mean change between frames after their motion is taken out, 0 to 255; lower is "
                    "steadier.",
                ),
                io.Float.Output(
                    display_name="psnr", tooltip="Mean PSNR to the reference in dB, at most 60; else NaN."
                ),
                io.Float.Output(
                    display_name="ssim", tooltip="Mean SSIM to the reference, at most 1; else NaN."
                ),
                io.Image.Output(display_name="plot", tooltip="The numbers of each frame as curves."),
            ],
        )

    @classmethod
    def execute(cls, frames, reference=None) -> io.NodeOutput:
        """Measure, and draw the curves."""
        found = measure(frames, reference, reporter())
        curves = {
            "Farneback flow, px a frame": found.farneback.per_frame,
            "DIS flow, px a frame": found.dis.per_frame,
            "warped difference, 0..255": found.warped_difference,
            "PSNR, dB": found.psnr,
            "SSIM": found.ssim,
        }
        numbers = (found.farneback.total_px, found.farneback.mean_px, found.farneback.mean_over_diagonal)
        likeness = (mean(found.warped_difference), mean(found.psnr), mean(found.ssim))
        return io.NodeOutput(found.as_json(), *numbers, found.dis.mean_px, *likeness, plot(curves)[None])


NODES = [VideoMetrics]
