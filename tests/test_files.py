"""Reading weights: every wrapping opens, everything else is refused in one sentence."""

import pickle

import pytest
import torch
from choreographer.core.files import read_weights, write_text, write_weights
from safetensors.torch import save_file


class Stranger:
    """Anything that is no tensor and would need code to unpickle."""


@pytest.fixture
def tensors():
    return {"a.weight": torch.arange(600.0).view(20, 30), "b.bias": torch.ones(7)}


@pytest.mark.parametrize("name", ["x.safetensors", "x.ckpt", "x.pt", "safetensors_in.ckpt", "old.pth"])
def test_formats_are_told_by_content(tmp_path, tensors, name):
    path = tmp_path / name
    if "safetensors" in name:
        save_file(tensors, path, metadata={"note": "hello"})
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=name != "old.pth")
    state, metadata = read_weights(path)
    assert state.keys() == tensors.keys() and all(torch.equal(state[k], tensors[k]) for k in tensors)
    assert metadata == ({"note": "hello"} if "safetensors" in name else {})


def test_a_safetensors_file_whose_first_byte_is_a_pickles(tmp_path, tensors):
    path, note = tmp_path / "x.safetensors", ""
    while not path.is_file() or path.read_bytes()[0] != 0x80:
        note += "        "
        save_file(tensors, path, metadata={"note": note})
    state, metadata = read_weights(path)
    assert state.keys() == tensors.keys() and metadata == {"note": note}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: {"state_dict": t, "epoch": 3},
        lambda t: {"controlnet": t},
        lambda t: {**t, "animatediff_config": {"a": 1}},
        lambda t: {f"module.{k}": v for k, v in t.items()},
        lambda t: {"state_dict": {f"module.module.{k}": v for k, v in t.items()}, "global_step": 5},
    ],
)
def test_wrappings_are_taken_off(tmp_path, tensors, wrap):
    torch.save(wrap(tensors), tmp_path / "w.ckpt")
    assert read_weights(tmp_path / "w.ckpt")[0].keys() == tensors.keys()


def test_diffusers_folder_and_its_config(tmp_path, tensors):
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text('{"motion_num_attention_heads": 4}')
    for path in (tmp_path, tmp_path / "diffusion_pytorch_model.safetensors"):
        state, metadata = read_weights(path)
        assert state.keys() == tensors.keys() and "motion_num_attention_heads" in metadata["config"]
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json"):
        read_weights(tmp_path)


@pytest.mark.parametrize("name", ["t.safetensors", "t.ckpt", "t.pth"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.95])
def test_a_truncated_file_is_named(tmp_path, tensors, name, keep):
    path = tmp_path / name
    if name == "t.safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=name != "t.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(ValueError, match=rf"'{name}'.*damaged"):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>404</html>", "<!DOCTYPE"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git-lfs pointer"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "not a weights file"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, content, said):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_weights(tmp_path / "x.safetensors")
    assert "x.safetensors" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_is_never_run(tmp_path, tensors, new_format):
    torch.save(
        {"state_dict": tensors, "extra": Stranger()},
        tmp_path / "x.pt",
        _use_new_zipfile_serialization=new_format,
    )
    with pytest.raises(ValueError, match="could run code"):
        read_weights(tmp_path / "x.pt")


def test_a_file_without_tensors_and_a_missing_file(tmp_path):
    (tmp_path / "p.pt").write_bytes(pickle.dumps({"a": [1, 2]}, protocol=2))
    torch.save({"state_dict": {"a": 1}}, tmp_path / "n.pt")
    for name, said in (("p.pt", "damaged"), ("n.pt", "no weights"), ("gone.pt", "does not exist")):
        with pytest.raises(ValueError, match=said):
            read_weights(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="holds no weights"):
        read_weights(tmp_path / "folder")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, tensors, monkeypatch):
    path = tmp_path / "new" / "w.safetensors"
    assert write_weights({**tensors, "turned": tensors["a.weight"].T}, path, {"note": "1"}) == path
    state, metadata = read_weights(path)
    assert torch.equal(state["turned"], tensors["a.weight"].T) and metadata == {"note": "1"}
    before = path.read_bytes()

    def broken(_tensors, part, _metadata):
        part.write_bytes(before[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr("choreographer.core.files.save_file", broken)
    with pytest.raises(OSError, match="No space left"):
        write_weights(tensors, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_of_several_processes_only_the_first_writes(tmp_path, tensors, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    write_weights(tensors, tmp_path / "w.safetensors")
    write_text("a star", tmp_path / "w.json")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("RANK", "0")
    assert write_text("a \u661f", tmp_path / "w.json").read_text(encoding="utf-8") == "a \u661f"
