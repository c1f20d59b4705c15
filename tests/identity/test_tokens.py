"""ID tokens: their files in every published layout, their prompts, and what is refused."""

import pytest
import torch
from choreographer.core.identity.tokens import (
    IdTokens,
    TokenRows,
    fill_prompt,
    read_id_tokens,
    write_id_tokens,
)
from safetensors.torch import save_file

ROWS = torch.randn(4, 768, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_round_trips_are_bit_exact(tmp_path, ending):
    path = write_id_tokens(IdTokens("me", ROWS), tmp_path / "deep" / f"her face.{ending}", {"steps": "200"})
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    read = read_id_tokens(path)
    assert torch.equal(read.vectors, ROWS) and read.vectors.dtype == torch.float32 and read.name == "her_face"
    assert read_id_tokens(path, "you").name == "you"


def test_the_published_layouts_load(tmp_path):
    published = {
        "vcd.pt": {"string_to_param": {"*": ROWS}},
        "webui.pt": {
            "string_to_token": {"*": torch.tensor(265)},
            "string_to_param": {"*": torch.nn.Parameter(ROWS)},
            "name": "me",
            "step": 200,
        },
        "diffusers.bin": {"<new1>": ROWS[0]},
        "half.pt": {"string_to_param": {"*": ROWS.half()}},
    }
    for name, content in published.items():
        torch.save(content, tmp_path / name)
        found = read_id_tokens(tmp_path / name).vectors
        wanted = ROWS[:1] if name == "diffusers.bin" else ROWS
        assert torch.allclose(found, wanted, atol=2e-3 if name == "half.pt" else 0)
    save_file({"clip_g": torch.zeros(4, 1280), "clip_l": ROWS}, tmp_path / "two.safetensors")
    assert torch.equal(read_id_tokens(tmp_path / "two.safetensors").vectors, ROWS)
    assert (tmp_path / "vcd.pt").stat().st_size < 15_000


def test_corrupt_and_foreign_files_are_one_sentence(tmp_path):
    whole = write_id_tokens(IdTokens("me", ROWS), tmp_path / "me.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:2000])
    (tmp_path / "text.pt").write_text("not an embedding")
    torch.save({"a": torch.zeros(2, 3), "b": torch.zeros(4)}, tmp_path / "model.pt")
    torch.save({"string_to_param": {"*": torch.full((2, 8), float("nan"))}}, tmp_path / "nan.pt")
    torch.save({"string_to_param": {"*": torch.zeros(2, 3, 4)}}, tmp_path / "cube.pt")
    for name, message in {
        "cut.safetensors": "truncated or damaged",
        "text.pt": "not a weights file",
        "model.pt": "no embedding: expected one matrix .* got a .2, 3., b",
        "nan.pt": "all finite",
        "cube.pt": "no embedding",
        "gone.pt": "does not exist",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_id_tokens(tmp_path / name)
    with pytest.raises(ValueError, match="768 wide, this text encoder takes 64"):
        IdTokens("me", ROWS).check_width(64)
    with pytest.raises(ValueError, match="called 'two words'"):
        IdTokens("two words", ROWS)


def test_prompts_have_the_tokens_where_the_tokenizer_finds_them():
    assert fill_prompt("photo of a [id] [class]", "me", " man ") == "photo of a embedding:me man"
    assert fill_prompt("[id], on grass", "a-b.c", "") == "embedding:a-b.c, on grass"
    for wrong in ("photo of a man", "a ([id])"):
        with pytest.raises(ValueError, match=r"expected \[id\] as a word"):
            fill_prompt(wrong, "me", "man")


def test_rows_are_a_copy_that_learns():
    rows = TokenRows(ROWS)
    assert [name for name, _ in rows.named_parameters()] == ["vectors"]
    with torch.no_grad():
        rows.vectors.zero_()
    assert bool(ROWS.any())
