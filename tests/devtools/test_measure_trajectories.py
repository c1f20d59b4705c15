"""`dev.py measure trajectories` on the demo model with fresh nets: modes, cache, figures, files."""

import json
from types import SimpleNamespace

import pytest
import torch
from choreographer.core.control.lora import add_lora
from choreographer.core.training.control import make_control, save_control
from choreographer.core.training.diffusion import Family
from choreographer.devtools.measure import add_trajectory_options
from choreographer.devtools.pack import ROOT


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measure")
    family = Family(None)
    image, flow = make_control(family), make_control(family, "flow")
    for role in ("camera", "object"):
        add_lora(flow, role, 2)
    with torch.no_grad():
        for weight in (p for net in (image, flow) for p in net.parameters() if not p.any()):
            weight.normal_(std=0.02)
    save_control(image, folder / "image.safetensors")
    save_control(flow, folder / "flow.safetensors")
    asked = {"steps": 1, "cfg": 2.0, "seeds": 1, "trajectory_scale": 1.5, "demo": ROOT / "demo"}
    asked |= {"sets": ["loop"], "modes": ["none", "guided"], "out": folder / "out"}
    files = {f"{kind}_control": folder / f"{kind}.safetensors" for kind in ("image", "flow")}
    return SimpleNamespace(**asked, **files)


def test_a_run_measures_and_the_next_reads_what_is_there(comfy_host, options, monkeypatch, capsys):
    from choreographer.devtools import measure_trajectories as command

    command.measure_trajectories(options)
    told = capsys.readouterr().out
    rows = json.loads((options.out / "measure_trajectories.json").read_text())
    assert [row["mode"] for row in rows] == options.modes and {row["role"] for row in rows} == {"object"}
    assert "| object | guided | 1 |" in told and "hold" in told
    assert (options.out / "measure_trajectories.png").is_file()
    assert rows[0]["error"] != rows[1]["error"], "each mode gives another clip"
    kept = list((options.out / "trajectories").glob("*.safetensors"))
    assert len(kept) == 2

    def broken(*_):
        raise AssertionError("sampled again")

    monkeypatch.setattr(command.Conductor, "sample", broken)
    command.measure_trajectories(options)
    assert json.loads((options.out / "measure_trajectories.json").read_text()) == rows
    options.cfg = 3.0
    with pytest.raises(AssertionError, match="sampled again"):
        command.measure_trajectories(options)


def test_the_options_are_read():
    import argparse

    parser = argparse.ArgumentParser()
    add_trajectory_options(parser)
    found = parser.parse_args(["--modes", "lora", "--seeds", "2"])
    assert found.modes == ["lora"] and found.seeds == 2 and found.sets == []
