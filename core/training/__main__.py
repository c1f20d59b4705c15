"""`python -m core.training RECIPE ...`.

Train a part of the demo family. Each run resumes from its own folder.

autoencoder  RUN                      pictures <-> latents
latents      RUN --autoencoder RUN    draw and encode the clips that the next two read
base         RUN --latents RUN        text encoder and UNet (add --clip-share for clips)
motion       RUN --latents RUN        motion module on the frozen base (CCDM Eq. 13)
image_control RUN --latents RUN       video ControlNet for keyframes, on the frozen base and motion
flow_clips   RUN --autoencoder RUN    draw and encode clips with tracks (or --dataset: read curated ones)
flow_control RUN --latents RUN        flow net of Image Conductor, --dense-steps on dense maps, then sparse
uni_control  RUN --autoencoder RUN    Uni-ControlNet on edges, depth and content, on the frozen base
motion_loras RUN --latents RUN        camera and object LoRA on --flow-control's net
subjects     RUN --autoencoder RUN    draw and encode clips with pictures of their subject
vision       RUN --subjects RUN       picture encoder for image prompts
image_prompt RUN --subjects RUN       mapper and attention for pictures (--stage, --prompt RUN)
image_report RUN --subjects RUN       likeness and captions of clips with pictures (--prompt RUN)
ablation     RUN --latents RUN        CCDM Table 3: motion under schedules A, B and C, and a table
export       DEMO --from RUN          write what the runs hold as the demo ships it
unpack       RUN --from DEMO          the reverse: a run to go on from, or to encode with
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from ..files import write_text
from ..uni_control.layouts import save_uni_controlnet
from . import ablation, autoencoder, control, flow_recipes, image_prompt_recipes, latents, uni_control
from .base_model import Words
from .demo_files import NETS, export_checkpoint, export_motion, export_nets, unpack
from .diffusion import Batch, Family, train_base, train_motion
from .loop import Plan
from .options import NEEDS, add_options, need

IMAGE_CONTROL = "image_control.safetensors"
UNI_CONTROL = "uni_control.safetensors"


def parse(arguments=None):
    """Command line -> namespace."""
    parser = argparse.ArgumentParser(
        prog="core.training", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("folder", type=Path, help="the run's folder (for export: the demo folder)")
    add_options(parser)
    flow_recipes.add_options(parser)
    image_prompt_recipes.add_options(parser)
    return parser.parse_args(arguments)


def _plan(options):
    names = ("steps", "folder", "learning_rate", "seed", "average", "precision", "constant")
    return Plan(**{name: getattr(options, name) for name in names})


def _family(options, fresh=()):
    """A family with the weights of `--from`, except those of the parts named in `fresh`."""
    if options.tokenizer is None:
        raise ValueError(
            "No tokenizer: give --tokenizer FOLDER, or set COMFYUI_PATH to a ComfyUI that brings one."
        )
    family = Family(Words(options.tokenizer), device=options.device, seed=options.seed)
    weights = _weights(options.start)
    return family.load({name: tensors for name, tensors in weights.items() if name not in fresh})


def _weights(folders):
    """The parts that finished runs hold; raises ValueError for a folder with neither these nor a net."""
    found = {}
    for folder in folders:
        files = {name: folder / f"{name}.safetensors" for name in ("unet", "text", "motion")}
        own = {name: load_file(file) for name, file in files.items() if file.exists()}
        if not own and not any((folder / net).exists() for net in NETS):
            raise ValueError(f"--from {folder}: no finished weights there; let that recipe end first")
        found |= own
    return found


def _batch(options):
    names = ("stills", "clips", "frames", "clip_share", "span", "blind", "debias", "gamma")
    return Batch(**{name: getattr(options, name) for name in names}, places=tuple(options.places))


def _autoencoder(options):
    weights = autoencoder.train_autoencoder(_plan(options), crop=options.crop, device=options.device)
    autoencoder.save(weights, options.folder)


def _latents(options):
    encoder, _ = autoencoder.load(options.autoencoder, options.device)
    shares = {"still_camera": options.still_camera, "straight": options.straight}
    counts = options.stills, options.clips, options.frames
    latents.build(encoder, options.folder, *counts, options.seed, **shares)


def _base(options):
    data = latents.Latents(*options.latents)
    autoencoder.save(train_base(_family(options), data, _plan(options), _batch(options)), options.folder)


def _motion(options):
    terms = {name: getattr(options, name) for name in ("lambda1", "lambda2", "window", "keyframes")}
    data = latents.Latents(*options.latents)
    weights = train_motion(_family(options), data, _plan(options), _batch(options), **terms)
    autoencoder.save(weights, options.folder)


def _image_control(options):
    terms = {name: getattr(options, name) for name in ("lambda1", "lambda2", "window")}
    family, source = _family(options), control.KeyframeClips(latents.Latents(*options.latents))
    net = control.make_control(family)
    weights = control.train_control(family, net, source, _plan(options), _batch(options), **terms)
    net.load_state_dict(weights["control"])
    control.save_control(net.half(), options.folder / IMAGE_CONTROL)


def _uni_control(options):
    family, (encoder, _) = _family(options), autoencoder.load(options.autoencoder, options.device)
    stills = uni_control.draw_stills(encoder, options.pool, options.seed)
    net = uni_control.make_uni_control(family)
    weights = uni_control.train_uni_control(family, net, stills, _plan(options), options.stills)
    net.load_state_dict(weights)
    save_uni_controlnet(net.half(), options.folder / UNI_CONTROL)


def _flow_control(options):
    flow_recipes.flow_control(options, _plan(options), _batch(options), _family(options))


def _motion_loras(options):
    flow_recipes.motion_loras(options, _plan(options), _batch(options), _family(options))


def _vision(options):
    image_prompt_recipes.vision(options, _plan(options))


def _image_prompt(options):
    image_prompt_recipes.image_prompt(options, _plan(options), _family(options))


def _image_report(options):
    print(image_prompt_recipes.report(options, _family(options)), end="")


def _ablation(options):
    terms = {name: getattr(options, name) for name in ("lambda1", "lambda2", "window", "keyframes")}
    decoder = autoencoder.load(options.autoencoder, options.device)[1] if options.autoencoder else None
    results = ablation.run_ablation(
        lambda: _family(options, fresh=("motion",)),
        latents.Latents(*options.latents),
        lambda name: replace(_plan(options), folder=options.folder / name),
        _batch(options),
        decoder,
        **terms,
    )
    write_text(ablation.table(results), options.folder / "ablation.md")
    print(ablation.table(results), end="")


def _export(options):
    weights = _weights(options.start)
    if "unet" in weights:
        need(options, "autoencoder")
        parts = [load_file(options.autoencoder / f"{n}.safetensors") for n in ("encoder", "decoder")]
        export_checkpoint(options.folder, weights["unet"], weights["text"], *parts)
    if "motion" in weights:
        export_motion(options.folder, _family(options).motion)
    export_nets(options.folder, options.start)


def _unpack(options):
    if len(options.start) != 1:
        raise ValueError("unpack needs --from DEMO, one demo folder")
    (demo,), options.start = options.start, []
    autoencoder.save(unpack(demo, _family(options)), options.folder)


RECIPES = {
    "autoencoder": _autoencoder,
    "latents": _latents,
    "base": _base,
    "motion": _motion,
    "image_control": _image_control,
    "uni_control": _uni_control,
    "flow_clips": flow_recipes.flow_clips,
    "flow_control": _flow_control,
    "motion_loras": _motion_loras,
    "subjects": image_prompt_recipes.subjects,
    "vision": _vision,
    "image_prompt": _image_prompt,
    "image_report": _image_report,
    "ablation": _ablation,
    "export": _export,
    "unpack": _unpack,
}


def main(arguments=None):
    """Run one recipe."""
    options = parse(arguments)
    need(options, *NEEDS.get(options.recipe, ()))
    if options.device == "cuda" and "LOCAL_RANK" in os.environ:  # of several processes, each has its own
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if options.threads:
        torch.set_num_threads(options.threads)
    RECIPES[options.recipe](options)
    if torch.distributed.is_initialized():  # else the last of several processes can die on its way out
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
