"""`dev.py measure trajectories`: does a clip go where the path is drawn, and does the rest stay?

The ten camera and ten object sets, `--seeds` each, from one image: without control, with the flow net alone
(base), with the LoRA for what should move, with camera-free guidance on top, and with the wrong LoRA. Objects
are sampled with noise along their tracks that rests on the ground ("noise" has it and no flow net, "none" has
the ground's alone), and without the flow net in the last steps. A camera move would be held: it has neither.
Latents are kept in OUT/trajectories under a name made of all that decides them, so that a run that was
stopped goes on, and new weights are sampled anew.
"""

import hashlib
import json
import time

import numpy as np

from .measure import Demo, write_rows
from .pack import register_pack
from .report.cache import digest
from .report.experiments.conductor import ALONG, END, GAMMA

register_pack()

from choreographer.core.metrics import trajectory_cases as cases  # noqa: E402

UNTOLD = ("none", "noise")  # modes without the flow net
OTHER = {"camera": "object", "object": "camera"}
FLOW, IMAGE = "choreographer_demo_flow.safetensors", "choreographer_demo_image.safetensors"
MOST = {"background": 0.3, "object": 4.0, "camera": 3.0}  # the goals, in pixels
SHOWN = (0, 5, 10, 15)  # frames on the contact sheet


class Conductor:
    """The demo model with image and flow net, as the nodes put them together."""

    def __init__(self, options):
        """Load all files."""
        self.demo, self.options = Demo(options.demo), options
        from choreographer.nodes.host.control import load_control_file

        folder = options.demo / "controlnet"
        files = {
            "image": options.image_control or folder / IMAGE,
            "flow": options.flow_control or folder / FLOW,
        }
        for kind, file in files.items():
            if not file.is_file():
                raise SystemExit(f"There is no {kind} net at {file}; give --{kind}-control FILE")
        self.nets = {kind: load_control_file(str(file)) for kind, file in files.items()}
        shared = sorted(options.demo.glob("checkpoints/*")) + sorted(
            options.demo.glob("animatediff_models/*")
        )
        self.hashes = {kind: digest(file) for kind, file in files.items()} | {"demo": digest(*shared)}

    def clip(self, case, mode):
        """(F, H, W, 3) in 0..1, from the cache where it is there."""
        import torch
        from safetensors.torch import load_file, save_file

        file = self.options.out / "trajectories" / f"{self.key(case, mode)}.safetensors"
        with torch.inference_mode():
            if file.exists():
                made = load_file(file)["latents"].float()
            else:
                made = self.sample(case, mode)
                file.parent.mkdir(parents=True, exist_ok=True)
                save_file({"latents": made.half().contiguous()}, file.with_suffix(".part"))
                file.with_suffix(".part").replace(file)
                made = made.half().float()
            return self.demo.vae.decode(made).float().clamp(0, 1).cpu().numpy()

    def key(self, case, mode):
        """A name of all that decides the clip."""
        used = ("demo", "image") if mode in UNTOLD else ("demo", "image", "flow")
        settings = {name: getattr(self.options, name) for name in ("steps", "cfg")}
        settings |= {"gamma": GAMMA[case.role]} | ({} if mode in UNTOLD else {"end": END[case.role]})
        settings |= ALONG if along_tracks(case, mode) else {}
        settings |= {"scale": self.options.trajectory_scale} if mode == "guided" else {}
        told = [
            [self.hashes[name] for name in used],
            settings,
            case.role,
            case.name,
            case.seed,
            mode,
            case.prompt,
        ]
        digested = hashlib.sha256(json.dumps(told).encode())
        digested.update(case.image.tobytes() + case.wanted.paths.numpy().tobytes())
        return digested.hexdigest()[:24]

    def sample(self, case, mode):
        """Latents (F, 4, h, w): euler, normal schedule, empty negative prompt."""
        import comfy.samplers
        import torch
        from choreographer.nodes.host.guidance import GuiderOptions, camera_free_guider

        model, options = self.demo.model, self.options
        conditions = self.conditions(case, mode)
        if mode == "guided":
            guider = camera_free_guider(
                model, *conditions, GuiderOptions(options.cfg, options.trajectory_scale)
            )
        else:
            guider = comfy.samplers.CFGGuider(model)
            guider.set_conds(*conditions)
            guider.set_cfg(options.cfg)
        latent = torch.zeros(case.wanted.paths.shape[1], 4, *(side // 8 for side in case.image.shape[:2]))
        noise = noise_of(case, mode).generate_noise({"samples": latent})
        sigmas = comfy.samplers.calculate_sigmas(
            model.get_model_object("model_sampling"), "normal", options.steps
        )
        sampler = comfy.samplers.sampler_object("euler")
        return guider.sample(noise, latent, sampler, sigmas, disable_pbar=True, seed=case.seed).cpu()

    def conditions(self, case, mode):
        """Positive and negative, with the image net and, unless the mode is "none", the flow net on them."""
        import torch
        from choreographer.core.control.lora import MIXES
        from choreographer.core.keyframes import Keyframe, Keyframes
        from choreographer.core.trajectory.flow_map import flow_map
        from choreographer.nodes.host.control import ControlOptions, VideoControl, apply_control
        from choreographer.nodes.host.hints import FlowHint, KeyframeHint

        clip, (image, flow) = self.demo.clip, (self.nets[kind] for kind in ("image", "flow"))
        texts = [clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in (case.prompt, "")]
        keyframes = Keyframes((Keyframe(torch.from_numpy(case.image), 0),))
        shown = KeyframeHint(keyframes, image.model, self.demo.vae)
        made = apply_control(texts, lambda: VideoControl(image, shown, ControlOptions()))
        if mode in UNTOLD:
            return made
        mix = MIXES[{"base": "base", "wrong": OTHER[case.role]}.get(mode, case.role)]
        drawn = FlowHint(flow_map(case.wanted).flow, flow.model)
        settings = ControlOptions(end_percent=END[case.role])
        return apply_control(made, lambda: VideoControl(flow, drawn, settings, mix))


def along_tracks(case, mode):
    """Whether the noise goes with the objects."""
    return case.role == "object" and mode != "none"


def noise_of(case, mode):
    """The NOISE of a clip."""
    from choreographer.core.trajectory.moving_noise import Layers, moving_noise
    from choreographer.nodes.host.noise import ClipNoise, prior_noise

    gamma = GAMMA[case.role]
    if not along_tracks(case, mode):
        return prior_noise(case.seed, gamma)
    layers = Layers(gamma, ALONG["objects"], ALONG["around"] * case.scene.sprites[0].radius)
    return ClipNoise(case.seed, lambda _, shape: moving_noise(case.wanted, shape, case.seed, layers))


def strip(case, images):
    """Some frames (H, W, 3) side by side, the wanted paths on the last."""
    import cv2

    shown = [images[min(frame, len(images) - 1)].copy() for frame in SHOWN]
    for path in case.wanted.paths.numpy():
        cv2.polylines(shown[-1], [np.round(path * 8).astype(np.int32)], False, (1, 1, 1), 1, cv2.LINE_AA, 3)
    return np.concatenate([case.image, *shown], 1)


def table(rows):
    """Figures by role and mode, as lines of Markdown: means with half of their 95 % interval."""
    lines = ["| what moves | mode | clips | error, px | background, px a frame | not found |"]
    lines.append("|---|---|---|---|---|---|")
    for role in cases.ROLES:
        for mode in dict.fromkeys(row["mode"] for row in rows):
            own = [row for row in rows if (row["role"], row["mode"]) == (role, mode)]
            if own:
                error, background = (spread([row[name] for row in own]) for name in ("error", "background"))
                lost = np.mean([row["lost"] for row in own])
                lines.append(f"| {role} | {mode} | {len(own)} | {error} | {background} | {lost:.2f} |")
    return lines


def spread(values):
    """A mean and half of its 95 % interval, as text."""
    half = 1.96 * np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):.2f} +- {half:.2f}"


def claims(rows):
    """What the paper and the goals say, and whether it holds, as lines."""

    def mean(role, mode, name="error"):
        return float(
            np.mean([row[name] for row in rows if (row["role"], row["mode"]) == (role, mode)] or [np.nan])
        )

    best = "guided"
    told = {
        f"the object follows within {MOST['object']:g} px": mean("object", best) < MOST["object"],
        f"while the background moves under {MOST['background']:g} px a frame": (
            mean("object", best, "background") < MOST["background"]
        ),
        f"the background follows the camera within {MOST['camera']:g} px": mean("camera", "lora")
        < MOST["camera"],
    }
    for role in cases.ROLES:
        told[f"{role}: LoRA better than none"] = mean(role, "lora") < mean(role, "none")
        told[f"{role}: LoRA better than base"] = mean(role, "lora") < mean(role, "base")
        told[f"{role}: wrong LoRA worse"] = mean(role, "wrong") > mean(role, "lora")
    told["object: guidance stills the background"] = mean("object", best, "background") < mean(
        "object", "lora", "background"
    )
    return [f"{'holds' if holds else 'does not hold'}: {claim}" for claim, holds in told.items()]


def measure_trajectories(options):
    """All sets, seeds and modes asked for."""
    wanted = [
        (r, n) for r, n in cases.case_names() if not options.sets or n in options.sets or r in options.sets
    ]
    jobs = [
        (r, n, seed, mode)
        for seed in range(options.seeds)
        for r, n in wanted
        for mode in options.modes
        if (r, mode) != ("camera", "noise")
    ]
    conductor, rows, sheet, started = Conductor(options), [], [], time.monotonic()
    for done, (role, name, seed, mode) in enumerate(jobs, 1):
        case = cases.make_case(role, name, seed)
        images = conductor.clip(case, mode)
        rows.append(
            {"role": role, "name": name, "seed": seed, "mode": mode, **vars(cases.judge(case, images))}
        )
        if seed == 0:
            sheet.append(strip(case, images))
        print(f"\r{done}/{len(jobs)} {(time.monotonic() - started) / done:.1f} s a clip", end="", flush=True)
    print("", *table(rows), "", *claims(rows), sep="\n")
    write_rows(options.out, "trajectories", rows, sheet)
