"""dev.py itself: its commands, its failures, and the golden files it checks."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


def run_dev(*arguments, **variables):
    """Run dev.py itself."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, ROOT / "dev.py", *arguments], env=environment, capture_output=True, text=True
    )


def test_a_wrong_comfyui_path_is_one_block_without_a_traceback(tmp_path):
    done = run_dev("demo", "--workflow", "no_such_workflow")
    assert done.returncode == 1 and "no_such_workflow" in done.stderr and "Traceback" not in done.stderr
    done = run_dev("golden", str(tmp_path), COMFYUI_PATH=str(tmp_path))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert str(tmp_path) in done.stderr and "remedy:" in done.stderr and "main.py" in done.stderr


def test_help_lists_the_commands_and_arguments_are_passed_through():
    done = run_dev("--help")
    assert done.returncode == 0
    for command in ("demo", "serve", "test", "bench", "golden", "train", "measure", "report"):
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


STUB = """#!{python}
import pathlib, sys, time, signal
signal.signal(signal.SIGTERM, signal.default_int_handler)
name = {folder!r} + "/" + sys.argv[4].replace("/", "-")
try:
    pathlib.Path(name + ".begun").touch()
    time.sleep(100)
except KeyboardInterrupt:
    pathlib.Path(name + ".ended").touch()
"""
DRIVER = """import pathlib, signal, types
import dev
signal.signal(signal.SIGTERM, dev.terminated)
dev.run_tests(types.SimpleNamespace(python=pathlib.Path({stub!r}), comfy="none"), [])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_termination_ends_both_test_processes(tmp_path):
    stub = tmp_path / "python"
    stub.write_text(STUB.format(python=sys.executable, folder=str(tmp_path)))
    stub.chmod(0o755)
    running = subprocess.Popen([sys.executable, "-c", DRIVER.format(stub=str(stub))], cwd=ROOT)
    while len(list(tmp_path.glob("*.begun"))) < 2:
        assert running.poll() is None
        time.sleep(0.05)
    running.terminate()
    assert running.wait(timeout=60) == 143
    assert {path.name for path in tmp_path.glob("*.ended")} == {"tests.ended", "tests-host.ended"}


def test_all_tests_run_in_two_processes_and_each_failure_counts(monkeypatch, capfdbinary):
    spec = importlib.util.spec_from_file_location("choreographer_dev_tests", ROOT / "dev.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    ran, codes = [], {}

    def run_module(_environment, _module, arguments, output=None):
        ran.append(tuple(arguments))
        if output is not None:
            output.write(b"in the host")
        return codes.get(arguments[0], 0)

    monkeypatch.setattr(module, "run_module", run_module)
    assert module.run_tests(None, ["-k", "web"]) == 0 and ran == [("-k", "web")]
    ran.clear()
    assert module.run_tests(None, []) == 0
    assert set(ran) == {
        ("tests/host", "tests/web"),
        ("tests", "--ignore=tests/host", "--ignore=tests/web"),
    }
    assert b"in the host" in capfdbinary.readouterr().out
    for failing in ("tests", "tests/host"):
        codes.clear()
        codes[failing] = 1
        assert module.run_tests(None, []) == 1
