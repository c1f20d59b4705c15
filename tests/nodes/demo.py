"""The demo family with random weights: its model as the stock loader makes one, and its checkpoint file."""

import torch
from choreographer.tests.nodes.tiny import fill, pack, unet_config

SHALLOW = {
    "num_res_blocks": [1, 1, 1],
    "transformer_depth": [1, 1, 0],
    "transformer_depth_output": [1] * 4 + [0] * 2,
}


def make_demo_model(seed=1):
    """A ModelPatcher of the demo family's UNet."""
    import comfy.model_base
    import comfy.model_management
    from comfy.model_patcher import ModelPatcher

    config = pack("nodes.host.demo_family").DemoFamily(unet_config(**SHALLOW))
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.BaseModel(config)
    fill(model.diffusion_model, seed)
    device = comfy.model_management.get_torch_device()
    return ModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))


def make_parts(seed=1):
    """Fresh UNet, text encoder, encoder and decoder of core's recipes, with seeded weights that fp16 holds
    exactly.

    The demo ships fp16, and the host keeps text encoders so.
    """
    base, autoencoder = pack("core.training.base_model"), pack("core.training.autoencoder")
    torch.manual_seed(seed)
    unet = fill(base.make_unet(), seed)
    parts = unet, base.make_text_encoder(), autoencoder.encoder(), autoencoder.decoder()
    return tuple(part.half().float().eval().requires_grad_(False) for part in parts)


def make_vae(gain=1.0):
    """A small VAE with random weights, as the stock loader makes one; `gain` on its encoder's last layer."""
    from comfy.sd import VAE

    encoder, decoder = make_parts()[2:]
    encoder[-1].weight.mul_(gain)
    parts = (("taesd_encoder", encoder), ("taesd_decoder", decoder))
    return VAE(sd={f"{name}.{key}": v for name, part in parts for key, v in part.state_dict().items()})


def write_checkpoint(parts, path):
    """The parts as the one file that the demo ships."""
    from safetensors.torch import save_file

    base = pack("core.training.base_model")
    tensors = base.checkpoint_tensors(*(part.state_dict() for part in parts))
    save_file({key: value.contiguous() for key, value in tensors.items()}, str(path))
    return path
