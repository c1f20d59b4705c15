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


def edits_of(seed):
    """Prompts of three edits: another colour, shape and ground, others for another seed."""
    from choreographer.core.data.scene import SHAPES
    from choreographer.core.data.shapes import GROUNDS, HUES

    prompts, known = {}, {"colour": HUES, "shape": SHAPES, "ground": GROUNDS}
    for part, names in known.items():
        others = [name for name in names if name != SOURCE[part]]
        said = {**SOURCE, part: others[seed % len(others)]}
        prompts[part] = "a {colour} {shape} {motion} on {ground}".format(**said)
    return prompts


def source_clip(seed):
    """The clip to tune on: (F, H, W, 3) tensor, its caption, and the track of its sprite (F, 2)."""
    import torch
    from choreographer.core.data.render import render
    from choreographer.core.data.scene import sample_scene

    scene = sample_scene(np.random.default_rng(seed), FRAMES, sprites=1, camera="", **SOURCE)
    clip = render(scene, SIDE, SIDE)
    return torch.from_numpy(clip.images).float(), clip.caption, clip.tracks[0]


def seen_in(made, words, track):
    """What an edited clip (F, H, W, 3) shows.

    track: pixels from the sprite to the source's track; motion: the same with its mean place taken for the
    source's, so what is left is how it moves; follows: 1 where colour, shape and ground are those
    of the prompt; change: from frame to frame, 0..255.
    """
    from choreographer.core.data.measure import look

    images, said = made.numpy(), words.split()
    seen = look(images)
    gaps = (seen.path - track)[np.isfinite(seen.path[:, 0])]
    return {
        "track": float(np.linalg.norm(gaps, axis=1).mean()) if len(gaps) else float("nan"),
        "motion": float(np.linalg.norm(gaps - gaps.mean(0), axis=1).mean()) if len(gaps) else float("nan"),
        "follows": float(seen.colour in said and seen.shape in said and ground_of(images) in said),
        "change": float(made.diff(dim=0).abs().mean() * 255),
    }


def ground_of(images):
    """Name of the ground of a clip (F, H, W, 3), by its tint: how bright it is differs from clip to clip."""
    from choreographer.core.data.measure import sprite_mask
    from choreographer.core.data.shapes import GROUNDS

    def tint(colour):
        return np.asarray(colour) / np.sum(colour)

    seen = tint(np.median([np.median(image[~sprite_mask(image)], 0) for image in images], 0))
    return min(GROUNDS, key=lambda name: np.abs(seen - tint(GROUNDS[name][0])).sum())


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
        for name, words in edits_of(options.seed).items():
            _, made = editor.sampled(model, noise, words, options.cfg)
            rows.append({"edit": name, **seen_in(made, words, track)})
            print(rows[-1], flush=True)
            sheet += list(made[::2].numpy())
    print(figures)
    write_rows(options.out, "tuning", [figures, *rows], sheet)
