"""Small models with random weights for tests of the host bridge: a 64/128/128 wide UNet, a motion module."""

import importlib

import torch

CONTEXT = 64


def pack(name):
    """A module of the pack."""
    return importlib.import_module(f"choreographer.{name}")


def fill(module, seed):
    """Seeded weights, small enough that activations stay near 1; norms near the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            spread = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.1
            value = torch.randn(weight.shape, generator=generator) * spread
            weight.copy_(
                value + 1 if "norm" in name and name.endswith("weight") and weight.ndim == 1 else value
            )
    return module


def unet_config(**changes):
    """Settings of the host's UNet class."""
    return {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 64,
        "num_res_blocks": [2, 2, 2],
        "channel_mult": (1, 2, 2),
        "transformer_depth": [1, 1, 1, 1, 0, 0],
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 0, 0, 0],
        "transformer_depth_middle": 1,
        "context_dim": CONTEXT,
        "num_heads": 4,
        "num_head_channels": -1,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": False,
        "legacy": False,
        "adm_in_channels": None,
        "use_checkpoint": False,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
        "dtype": torch.float32,
        **changes,
    }


def make_model(seed=1, dtype=torch.float32, manual_cast=None, kind=None, **changes):
    """A ModelPatcher of the tiny UNet, noise predicting, as the stock checkpoint loader would give it."""
    import comfy.model_base
    import comfy.model_management
    import comfy.supported_models
    from comfy.model_patcher import ModelPatcher

    config = comfy.supported_models.SD15(unet_config(dtype=dtype, **changes))
    config.set_inference_dtype(dtype, manual_cast)
    model = comfy.model_base.BaseModel(config, model_type=kind or comfy.model_base.ModelType.EPS)
    fill(model.diffusion_model, seed)
    device = comfy.model_management.get_torch_device()
    return ModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))


def make_motion(seed=2, widths=(64, 128, 128), dtype=torch.float32, **changes):
    """A MOTION_MODEL that fits the tiny UNet."""
    import comfy.ops

    config = pack("core.motion.model").MotionConfig(channels=widths, heads=4, **changes)
    motion = pack("core.motion.model").MotionModel(config, ops=comfy.ops.manual_cast, dtype=dtype)
    fill(motion, seed)
    return pack("nodes.host.nets").as_patcher(motion)


def make_cond(seed, frames=1, tokens=7):
    """Random CONDITIONING, (frames, tokens, C)."""
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(frames, tokens, CONTEXT, generator=generator), {}]]


def sample(
    model,
    frames=4,
    steps=3,
    cfg=4.0,
    positive=None,
    negative=None,
    size=8,
    sampler="euler",
    callback=None,
    seed=0,
):
    """A run of the stock KSampler on an empty latent; (frames, 4, size, size)."""
    import comfy.sample

    with torch.inference_mode():
        latent = torch.zeros(frames, 4, size, size)
        noise = comfy.sample.prepare_noise(latent, seed)
        return comfy.sample.sample(
            model, noise, steps, cfg, sampler, "normal", positive or make_cond(11), negative or make_cond(12),
            latent, callback=callback, disable_pbar=True, seed=seed,
        )  # fmt: skip


def hook_count(model):
    """Forward hooks anywhere in the UNet of a ModelPatcher."""
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.model.modules()
    )
