"""Progress bars that also notice the user's interrupt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import comfy.model_management
import comfy.utils

Item = TypeVar("Item")


def check_interrupt() -> None:
    """Raise the host's interrupt exception when the user cancelled; let it pass through."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def track(items: Iterable[Item], total: int | None = None) -> Iterator[Item]:
    """Yield `items` while the running node's progress bar advances; `total` where `items` has no length."""
    bar = comfy.utils.ProgressBar(len(items) if total is None else total)
    for item in items:
        check_interrupt()
        yield item
        bar.update(1)


def reporter() -> Callable[..., None]:
    """A callback `report(done, total, image=None)` for loops inside `core`; `image` is a PIL preview."""
    bar = comfy.utils.ProgressBar(1)

    def report(done: int, total: int, image=None) -> None:
        check_interrupt()
        bar.update_absolute(done, total, None if image is None else ("JPEG", image, 512))

    return report
