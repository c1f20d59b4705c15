"""Fixtures that several tests of nodes share."""

from types import SimpleNamespace

import pytest
from choreographer.tests.nodes.tiny import make_model, make_motion, pack


@pytest.fixture(scope="module")
def model(comfy_host):
    """A ModelPatcher of the tiny UNet."""
    return make_model()


@pytest.fixture(scope="module")
def moving(model):
    """The same with a motion module."""
    return pack("nodes.host.patching").apply_motion_module(model, make_motion())


@pytest.fixture
def own_folders(comfy_host, tmp_path, monkeypatch):
    """Function that puts the host's input, output and some model folders in a place of their own.

    It takes kinds of models by the names that their paths get in what it gives.
    """
    import folder_paths

    def make(**kinds):
        known, paths = dict(folder_paths.folder_names_and_paths), {name: tmp_path / name for name in kinds}
        known.update({kind: ([str(paths[name])], {".safetensors", ".pt"}) for name, kind in kinds.items()})
        monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
        monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
        monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
        runs = tmp_path / "output" / "choreographer_training"
        return SimpleNamespace(runs=runs, input=tmp_path / "input", **paths)

    return make
