"""`dev.py measure tuning`: one sprite clip tuned on, inverted, and edited by other prompts.

How long it takes, how well the inversion gives the source back for a model that predicts noise, for the same
model as one that predicts v, and for v taken for noise; and for each edit whether the sprite follows the text
and how far its track is from the source's.
"""

import time

import numpy as np

from .measure import Demo, write_rows

FRAMES, SIDE, STEPS = 8, 128, 20
SOURCE = {"shape": "circle", "colour": "red", "motion": "moving right", "ground": "grass"}
EDITS = {
    "source": "a red circle moving right on grass",
    "colour": "a blue circle moving right on grass",
    "shape": "a red star moving right on grass",
    "ground": "a red circle moving right on sand",
}


def source_clip(seed):
    """The clip to tune on: (F, H, W, 3) tensor, its caption, and the track of its sprite (F, 2)."""
    import torch
    from choreographer.core.data.render import render
    from choreographer.core.data.scene import sample_scene

    scene = sample_scene(np.random.default_rng(seed), FRAMES, sprites=1, camera="", **SOURCE)
    clip = render(scene, SIDE, SIDE)
    return torch.from_numpy(clip.images).float(), clip.caption, clip.tracks[0]


def as_velocity(model):
    """The same model as one that predicts v: its UNet's output is turned into v while the handle is there."""
    import comfy.model_sampling

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.V_PREDICTION):
        pass

    sampling = Sampling(model.model.model_config)
    changed = model.clone()
    changed.add_object_patch("model_sampling", sampling)

    def turned(_unet, inputs, noise):
        kept = (1 / (1 + sampling.sigma(inputs[1].float()) ** 2)).view(-1, 1, 1, 1)
        clean = (inputs[0] - (1 - kept).sqrt() * noise) / kept.sqrt()
        return kept.sqrt() * noise - (1 - kept).sqrt() * clean

    return changed, model.model.diffusion_model.register_forward_hook(turned)


class Editor:
    """A demo model that inverts a clip and samples it again."""

    def __init__(self, demo, latent, steps):
        """Take the parts; latent: LATENT of the clip."""
        self.demo, self.latent, self.steps = demo, latent, steps

    def text(self, words):
        """CONDITIONING of a prompt."""
        return self.demo.clip.encode_from_tokens_scheduled(self.demo.clip.tokenize(words))

    def inverted(self, model, refine):
        """The clip's noise, with an empty prompt."""
        import comfy.samplers
        from choreographer.nodes.host.tuning import inverted

        sampling = model.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", self.steps)
        return inverted(model, self.text(""), self.latent, sigmas, refine)

    def sampled(self, model, noise, words, cfg):
        """Frames (F, H, W, 3) from the noise with a prompt."""
        import comfy.sample
        import torch

        empty = torch.zeros_like(noise["samples"])
        made = comfy.sample.sample(
            model, empty, self.steps, cfg, "ddim", "normal", self.text(words), self.text(""),
            noise["samples"], disable_noise=True, disable_pbar=True, seed=0,
        )  # fmt: skip
        return made, self.demo.vae.decode(made).float().clamp(0, 1).cpu()


def psnr(one, other):
    """Of latents, by the range of the second, in dB."""
    span = float(other.max() - other.min())
    return float(10 * np.log10(span**2 / float((one - other).square().mean())))


def round_trips(editor, model, noise=(0, 1, 2), v=(0, 1)):
    """PSNR of inversion and sampling with no guidance: noise, v, and v taken for noise.

    noise, v: how often each step of the inversion is refined.
    """
    found, want = {}, editor.latent["samples"]
    for refine in noise:
        made, _ = editor.sampled(model, editor.inverted(model, refine), "", 1.0)
        found[f"noise, refine {refine}"] = psnr(made, want)
    velocity, handle = as_velocity(model)
    try:
        for refine in v:
            made, _ = editor.sampled(velocity, editor.inverted(velocity, refine), "", 1.0)
            found[f"v, refine {refine}"] = psnr(made, want)
        naive = editor.inverted(model, 0)  # its output is v now, and is taken for noise
        made, _ = editor.sampled(velocity, naive, "", 1.0)
        found["v taken for noise"] = psnr(made, want)
    finally:
        handle.remove()
    return found


def measure_tuning(options):
    """One clip: `--train-steps` of tuning, then every edit."""
    demo = Demo(options.demo, motion=False)
    import torch
    from choreographer.core.data.measure import look
    from choreographer.nodes.host.tuning import TuningOptions, apply_tuning
    from choreographer.nodes.host.tuning_training import TuneSettings, tune_on_clip

    images, caption, track = source_clip(options.seed)
    with torch.inference_mode():
        latent = {"samples": demo.vae.encode(images)}
        started = time.monotonic()
        settings = TuneSettings(options.train_steps, options.tuning_rate, options.seed)
        tuning, _ = tune_on_clip(demo.model, demo.clip, latent, caption, settings)
        seconds = time.monotonic() - started
        model = apply_tuning(demo.model, tuning, TuningOptions())
        editor = Editor(demo, latent, options.steps)
        figures = {"tuning_seconds": seconds, **round_trips(editor, model)}
        noise, rows, sheet = editor.inverted(model, 1), [], list(images[::2].numpy())
        for name, words in EDITS.items():
            _, made = editor.sampled(model, noise, words, options.cfg)
            seen = look(made.numpy())
            error = float(np.nanmean(np.linalg.norm(seen.path - track, axis=1)))
            rows.append({"edit": name, "colour": seen.colour, "shape": seen.shape, "track_error_px": error})
            print(rows[-1], flush=True)
            sheet += list(made[::2].numpy())
    print(figures)
    write_rows(options.out, "tuning", [figures, *rows], sheet)
