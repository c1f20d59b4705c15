"""A fresh motion module's configuration, derived from the UNet that it is to be trained on."""

from math import gcd

from ..motion.model import MotionConfig

HEADS = 8
LEAST_HEAD = 16  # channels a head: below that, eight heads are too many
NORM_GROUPS = 32
MAX_FRAMES = 32


def fitting_config(sites, frames, beta_schedule="linear", name=""):
    """`MotionConfig` for the sites of a UNet, as `find_sites` gives them.

    The module takes clips of up to 32 frames, or `frames` where that is more. Eight heads as in the
    published modules, fewer for UNets so narrow that a head would have under 16 channels. Raises
    ValueError when the sites are not those of a UNet whose down blocks are all of one depth.
    """
    down = [site for site in sites if site.name.startswith("down_blocks.")]
    levels = len({site.name.split(".")[1] for site in down})
    layers = len(down) // levels
    channels = tuple(site.channels for site in down[::layers])
    config = MotionConfig(
        channels=channels,
        layers_per_block=layers,
        mid_block=any(site.name.startswith("mid_block") for site in sites),
        max_frames=max(MAX_FRAMES, frames),
        heads=gcd(max(1, min(HEADS, min(channels) // LEAST_HEAD)), *channels),
        norm_groups=gcd(NORM_GROUPS, *channels),
        beta_schedule=beta_schedule,
        name=name,
    )
    if config.sites() != tuple((site.name, site.channels) for site in sites):
        raise ValueError(
            f"No motion module fits this UNet: its {len(sites)} places are not those of an SD1.5 UNet."
        )
    return config
