"""The most memory that tensors hold at once, counted tensor by tensor, on any device."""

import weakref

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Within a `with`: `peak` bytes of what was made and not yet freed, each storage counted once."""

    def __init__(self):
        """Nothing is held yet."""
        super().__init__()
        self.now, self.peak, self._known = 0, 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation and count what it gives."""
        given = {
            id(part.untyped_storage()) for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)
        }
        made = func(*args, **(kwargs or {}))
        for part in tree_leaves(made):
            if isinstance(part, Tensor) and id(part.untyped_storage()) not in given:
                self._count(part.untyped_storage())
        return made

    def _count(self, storage) -> None:
        if id(storage) in self._known:
            return
        self._known.add(id(storage))
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, id(storage), size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
