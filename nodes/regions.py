"""One part of a clip as a clip of its own, and back."""

from comfy_api.latest import io

from ..core.refine.paste import check_crops, paste, whole_masks
from ..core.refine.regions import CropPlan, cut, match_colours, plan_region
from .faces import CATEGORY, tracks_input
from .host.progress import reporter
from .inputs import amount_input, choice_input
from .sockets import REGION

CROPS = ("tracked", "static")


def crop_inputs(guide: int, guide_note: str) -> list:
    """How a face becomes a crop."""
    return [
        choice_input(
            "crop",
            CROPS,
            "tracked: the crop follows the face, steadily and between pixels. static: one crop that holds "
            "the face in all its frames; it grows with the face's way.",
        ),
        io.Float.Input(
            "crop_factor",
            default=3.0,
            min=1.0,
            max=20.0,
            step=0.1,
            tooltip="Size of the crop in face boxes: 3 shows head and shoulders.",
        ),
        io.Int.Input(
            "guide_size",
            default=guide,
            min=0,
            max=4096,
            step=8,
            tooltip=f"The crop is enlarged to this many pixels, and never made smaller. {guide_note}",
        ),
    ]


def paste_inputs() -> list:
    """How a crop goes back."""
    return [
        io.Float.Input(
            "feather",
            default=16.0,
            min=0.0,
            max=1024.0,
            step=1.0,
            tooltip="Pixels of the clip over which the pasted part fades in.",
        ),
        amount_input(
            "colour_match",
            1.0,
            "How much of the old colours it gets back, measured along its edge over all frames: 0 = none.",
        ),
    ]


class CropVideoRegion(io.ComfyNode):
    """A track's crop of a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoCropVideoRegion",
            display_name="Crop Video Region",
            category=CATEGORY,
            description="Cuts one track out of a clip as a clip of its own, for anything you like; 'Paste "
            "Video Region' puts it back. The crop has sides of multiples of 8 and one size for all frames. A "
            "static crop at guide size 0 comes back bit for bit.",
            inputs=[
                io.Image.Input("images", tooltip="The clip."),
                tracks_input(),
                io.Int.Input("face", default=0, min=0, max=999, tooltip="Number of the track."),
                *crop_inputs(0, "0 = the crop keeps its size."),
                io.Float.Input(
                    "paste_factor",
                    default=2.0,
                    min=0.1,
                    max=100.0,
                    step=0.1,
                    tooltip="How much of the crop 'Paste Video Region' puts back, in face boxes; 100 = all.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="crops", tooltip="The frames in which the face is, cropped."),
                REGION.Output(display_name="region", tooltip="Where they were, for 'Paste Video Region'."),
            ],
        )

    @classmethod
    def execute(cls, images, tracks, face, crop, crop_factor, guide_size, paste_factor) -> io.NodeOutput:
        """Cut."""
        tracks.check(images)
        (track,) = tracks.only(str(face), "face").tracks
        plan = CropPlan(crop == CROPS[0], crop_factor, guide_size, guide_size, paste_factor)
        region = plan_region(track, tracks.size, tracks.count, plan)
        return io.NodeOutput(cut(images, region, reporter()), region)


class PasteVideoRegion(io.ComfyNode):
    """A crop back into its clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoPasteVideoRegion",
            display_name="Paste Video Region",
            category=CATEGORY,
            description="Puts a crop of 'Crop Video Region' back where it was, with a soft edge and matched "
            "colours. All other frames and pixels stay bit for bit.",
            inputs=[
                io.Image.Input("images", tooltip="The clip that the crop is from."),
                io.Image.Input("crops", tooltip="The crop, changed; as many frames, the same size."),
                REGION.Input("region", tooltip="From 'Crop Video Region'."),
                *paste_inputs(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="What of the clip may change, one mask a frame. Empty = all.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="The clip with the crop in it.")],
        )

    @classmethod
    def execute(cls, images, crops, region, feather, colour_match, mask=None) -> io.NodeOutput:
        """Paste."""
        check_crops(images, region, crops)
        masks = whole_masks(mask, images)
        crops = match_colours(crops, cut(images, region, reporter()), region, colour_match)
        return io.NodeOutput(paste(images, [(region, crops)], feather, masks, reporter()))


NODES = [CropVideoRegion, PasteVideoRegion]
