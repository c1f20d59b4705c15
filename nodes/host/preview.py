"""A preview of the whole clip while it is sampled: the host's own shows the first frame only."""

from __future__ import annotations

import latent_preview
from comfy.patcher_extension import WrappersMP
from comfy.utils import ProgressBar
from PIL import Image

KEY = "choreo_preview"
STRIP = 4  # small frames below the large one
WIDTH = 256  # least width of the large one, in pixels


def add_clip_preview(model) -> None:
    """Make the sampling runs of this ModelPatcher show their clip; adding it twice changes nothing."""
    if not model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY):
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _preview_clip)


def _preview_clip(
    executor, noise, latent_image, sampler, sigmas, denoise_mask=None, callback=None, *args, **kwargs
):
    """OUTER_SAMPLE wrapper: follow the caller's step callback with our picture, where previews are on."""
    model = executor.class_obj.model_patcher
    if callback is not None and noise.ndim == 4 and noise.shape[0] > 1:
        previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        if previewer is not None:
            callback = _after(callback, previewer)
    return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, *args, **kwargs)


def _after(callback, previewer):
    bar = ProgressBar(1)

    def show(step, x0, x, total_steps):
        callback(step, x0, x, total_steps)
        picture = clip_picture(x0, step, previewer.decode_latent_to_preview)
        bar.update_absolute(step + 1, total_steps, ("JPEG", picture, latent_preview.MAX_PREVIEW_RESOLUTION))

    return show


def clip_picture(latents, step: int, decode) -> Image.Image:
    """One large frame, the next at every step so that the clip plays, over a strip of the whole clip.

    `latents` is F x C x h x w; `decode` maps 1 x C x h x w to a PIL image.
    """
    frames = latents.shape[0]
    large = decode(latents[step % frames].unsqueeze(0))
    zoom = max(1, WIDTH // large.width)
    width, height = large.width * zoom, large.height * zoom
    small = (width // STRIP, height // STRIP)
    picture = Image.new("RGB", (width, height + small[1]))
    picture.paste(large.resize((width, height)), (0, 0))
    for i in range(STRIP):
        frame = i * (frames - 1) // (STRIP - 1)
        picture.paste(decode(latents[frame].unsqueeze(0)).resize(small), (i * small[0], height))
    return picture
