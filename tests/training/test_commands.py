"""The training commands: what they need is asked for first, and several processes share a task."""

import pytest
import torch
from choreographer.core.control.network import ControlConfig, VideoControlNet
from choreographer.core.image_prompt.layouts import save_image_prompt
from choreographer.core.image_prompt.network import ImagePrompt, ImagePromptConfig, Place
from choreographer.core.motion.layouts import save_motion_module
from choreographer.core.motion.model import MotionConfig, MotionModel
from choreographer.core.training import __main__ as command
from choreographer.core.training import autoencoder, latents
from choreographer.core.training.control import save_control
from choreographer.core.training.options import NEEDS
from choreographer.core.training.subjects import SubjectClips, write_subjects
from choreographer.core.tuning.layouts import save_tuning
from choreographer.core.tuning.network import TuningConfig, VideoTuning
from safetensors.torch import save_file

PLACES = (Place("down_blocks.0.attentions.0.transformer_blocks.0", 64, 64),)


def control_net():
    sizes = {"channels": (32, 32), "attends": (True, False), "context": 32, "heads": 2, "motion_heads": 2}
    return VideoControlNet(ControlConfig(**sizes, norm_groups=16))


def subjects():
    clips, looks = torch.zeros(1, 2, 4, 2, 2), torch.zeros(1, 1, 4, 2, 2)
    pictures = torch.zeros(1, 1, 3, 8, 8, dtype=torch.uint8)
    return SubjectClips(clips, ["a star"], ["star"], pictures, looks, [{"text": "a star", "word": "star"}])


WRITERS = {
    "motion": lambda p: save_motion_module(MotionModel(MotionConfig((32, 32), heads=2)), p / "m.safetensors"),
    "control": lambda p: save_control(control_net(), p / "c.safetensors"),
    "prompt": lambda p: save_image_prompt(ImagePrompt(ImagePromptConfig(places=PLACES)), p / "p.safetensors"),
    "tuning": lambda p: save_tuning(VideoTuning(TuningConfig(PLACES)), p / "t.safetensors"),
    "subjects": lambda p: write_subjects(p, subjects()),
    "parts": lambda p: autoencoder.save({"encoder": {"a": torch.zeros(2)}}, p),
    "latents": lambda p: latents._write(p, {"stills": torch.zeros(1, 4, 2, 2)}, ["a star"], []),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_only_the_first_of_several_processes_writes(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("RANK", "1")
    WRITERS[kind](tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("RANK", "0")
    WRITERS[kind](tmp_path / "run")
    assert {path.suffix for path in (tmp_path / "run").iterdir()} <= {".safetensors", ".json"}


def test_each_process_takes_the_gpu_of_its_rank(tmp_path, monkeypatch):
    taken, ran = [], []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setitem(command.RECIPES, "autoencoder", lambda options: ran.append(options.device))
    for rank, device in ((None, "cuda"), ("3", "cpu"), ("3", "cuda")):
        if rank is not None:
            monkeypatch.setenv("LOCAL_RANK", rank)
        command.main(["autoencoder", str(tmp_path), "--device", device])
    assert taken == [3] and ran == ["cuda", "cpu", "cuda"]


def test_a_folder_without_finished_weights_is_refused(tmp_path):
    run = tmp_path / "base"
    run.mkdir()
    (run / "checkpoint.pt").touch()
    with pytest.raises(ValueError, match=r"--from .*base: no finished weights there; let that recipe end"):
        command.main(["export", str(tmp_path / "demo"), "--from", str(run)])
    (run / "image_control.safetensors").touch()
    assert command._weights([run]) == {}
    save_file({"a": torch.ones(2)}, run / "unet.safetensors")
    assert command._weights([run])["unet"]["a"].sum() == 2
    with pytest.raises(ValueError, match="export needs --autoencoder RUN"):
        command.main(["export", str(tmp_path / "demo"), "--from", str(run)])


@pytest.mark.parametrize("recipe", [recipe for recipe in command.RECIPES if recipe != "autoencoder"])
def test_a_run_that_a_recipe_needs_is_asked_for(tmp_path, recipe):
    if recipe == "export":  # of nothing: nothing is needed
        return command.main([recipe, str(tmp_path)])
    first = NEEDS.get(recipe, ("from",))[0]
    with pytest.raises(ValueError, match=f"{recipe} needs --{first} [A-Z]+"):
        command.main([recipe, str(tmp_path)])
