"""Small video ControlNets for the demo-shaped UNet with random weights; prompts with them; guider runs."""

import torch
from choreographer.tests.nodes.tiny import CONTEXT, fill, make_cond, pack

RANK, SIZE = 4, 8  # SIZE in latent cells


def make_net(kind="flow", seed=4, roles=("camera", "object"), dtype=torch.float32, **changes):
    """A VideoControlNet of the host's layers with LoRAs of random weights."""
    import comfy.ops

    network, lora = pack("core.control.network"), pack("core.control.lora")
    config = {
        "channels": (64, 128, 128), "attends": (True, True, False), "layers_per_block": 1, "context": CONTEXT,
        "heads": 4, "motion_heads": 4, "kind": kind, "condition": {"image": 5, "pixels": 4, "flow": 2}[kind],
    }  # fmt: skip
    net = network.VideoControlNet(network.ControlConfig(**{**config, **changes}), ops=comfy.ops.manual_cast)
    for role in roles:
        net.lora = net.lora or lora.SwitchableLora()
        ranks = dict.fromkeys(lora.lora_layers(net), RANK)
        net.lora.add(net, role, ranks, ops=comfy.ops.manual_cast)
    fill(net, seed)
    for layer in (*net.controlnet_down_blocks, net.controlnet_mid_block):
        layer.weight.data.mul_(0.5)
    return net.to(dtype)


def patcher(net):
    """The net as a VIDEO_CONTROLNET."""
    return pack("nodes.host.nets").as_patcher(net)


def flow_map(frames=4, size=SIZE, seed=6):
    return torch.randn(frames, 2, 8 * size, 8 * size, generator=torch.Generator().manual_seed(seed))


def controlled(net, flow, mode="object", mix=None, positive=None, negative=None, **options):
    """Positive and negative prompt with the net on both."""
    control, hints = pack("nodes.host.control"), pack("nodes.host.hints")
    mix = mix or pack("core.control.lora").MIXES[mode]
    hint, settings = hints.FlowHint(flow, net.model), control.ControlOptions(**options)
    prompts = (positive or make_cond(11), negative or make_cond(12))
    return control.apply_control(prompts, lambda: control.VideoControl(net, hint, settings, mix))


def run_guider(guider, frames=4, steps=3, size=SIZE, sampler="euler", seed=0, mask=None):
    """A run of a GUIDER with a stock sampler on an empty latent; (frames, 4, size, size)."""
    import comfy.sample
    import comfy.samplers

    with torch.inference_mode():
        latent = torch.zeros(frames, 4, size, size)
        noise = comfy.sample.prepare_noise(latent, seed)
        sampling = guider.model_patcher.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", steps)
        chosen = comfy.samplers.sampler_object(sampler)
        return guider.sample(noise, latent, chosen, sigmas, denoise_mask=mask, disable_pbar=True, seed=seed)


def camera_free(model, prompts, cfg=4.0, **options):
    """A Camera-Free Guider."""
    guidance = pack("nodes.host.guidance")
    return guidance.camera_free_guider(model, *prompts, guidance.GuiderOptions(cfg=cfg, **options))


def counting(model, seen):
    """A clone that notes the batch of each call of the UNet."""
    from comfy.patcher_extension import WrappersMP

    def note(executor, x, *args, **kwargs):
        seen.append(x.shape[0])
        return executor(x, *args, **kwargs)

    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", note)
    return model
