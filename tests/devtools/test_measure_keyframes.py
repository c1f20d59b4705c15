"""`dev.py measure keyframes` on the demo model with a fresh net: sides, figures, files."""

import json
from types import SimpleNamespace

import torch
from choreographer.core.training.control import make_control, save_control
from choreographer.core.training.diffusion import Family
from choreographer.devtools.pack import ROOT


def test_guided_clips_pass_through_keyframes_and_all_sides_differ(comfy_host, tmp_path, monkeypatch, capsys):
    from choreographer.devtools import measure_keyframes as command

    monkeypatch.setattr(command, "FRAMES", 4)
    net = make_control(Family(None))
    with torch.no_grad():
        for weight in (p for p in net.parameters() if not p.any()):
            weight.normal_(std=0.02)
    save_control(net, tmp_path / "image.safetensors")
    asked = {"steps": 2, "cfg": 2.0, "gamma": 0.0, "count": 1, "seed": 7, "demo": ROOT / "demo"}
    command.measure_keyframes(
        SimpleNamespace(**asked, out=tmp_path, image_control=tmp_path / "image.safetensors")
    )
    rows = {row["side"]: row for row in json.loads((tmp_path / "measure_keyframes.json").read_text())}
    assert list(rows) == ["free", "guided", "net", "net and guided"]
    assert len({row["all frames"] for row in rows.values()}) == len(rows)
    through = [side for side, row in rows.items() if row["keyframes"] > 24]
    assert through == ["guided", "net and guided"]
    assert "| guided |" in capsys.readouterr().out and (tmp_path / "measure_keyframes.png").is_file()
