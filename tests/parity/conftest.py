"""diffusers as the independent check of the mathematics."""

import pytest
from choreographer.devtools.torchvision_shim import install


@pytest.fixture(scope="session")
def diffusers():
    """The diffusers package, importable also where torchvision does not fit torch."""
    install()
    return pytest.importorskip("diffusers")
