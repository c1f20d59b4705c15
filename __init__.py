"""ComfyUI-Choreographer: turns a Stable Diffusion 1.5 text-to-image model into a directed video model."""

from comfy_api.latest import ComfyExtension

from .nodes import NODE_CLASS_MAPPINGS, NODES
from .nodes.host import demo_family

WEB_DIRECTORY = "./web"
demo_family.register()


class Choreographer(ComfyExtension):
    """The pack's nodes, for hosts that ask by the V3 entry point."""

    async def get_node_list(self):
        """All node classes."""
        return list(NODES)


async def comfy_entrypoint() -> Choreographer:
    """V3 entry point."""
    return Choreographer()


__all__ = ["NODE_CLASS_MAPPINGS", "WEB_DIRECTORY", "comfy_entrypoint"]
