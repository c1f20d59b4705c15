"""The demo family's networks outside the host.

SD1.5's UNet and CLIP text encoder with small widths, and their file.

Training uses diffusers' UNet and transformers' text encoder; `checkpoint_tensors` writes them under the key
names of a single-file SD1.5 checkpoint, which the stock loader reads.
"""

import re

import torch
from torch import nn
from torch.nn import Linear, functional

from .word_table import unpack_words

WIDTHS = (64, 128, 128)
CONTEXT = 64
HEADS = 4
LAYERS = 1  # ResBlocks a level; SD1.5 has 2
TOKENS = 77
TEXT_CONFIG = {
    "hidden_size": CONTEXT,
    "intermediate_size": 4 * CONTEXT,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": TOKENS,
    "vocab_size": 49408,
    "hidden_act": "quick_gelu",
}


def make_unet(widths=WIDTHS, context=CONTEXT, heads=HEADS, layers=LAYERS):
    """A fresh SD1.5-shape UNet (diffusers) of the given widths.

    Cross attention in all but the deepest level.
    """
    from diffusers import UNet2DConditionModel

    cross, plain = "CrossAttn", ""
    kinds = [cross] * (len(widths) - 1) + [plain]
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=widths,
        layers_per_block=layers,
        cross_attention_dim=context,
        attention_head_dim=heads,  # in SD1.5's config this field is the NUMBER of heads
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
    )


def make_text_encoder():
    """A fresh CLIP text encoder (transformers) with the demo's widths and the full CLIP vocabulary."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(**TEXT_CONFIG, bos_token_id=49406, eos_token_id=49407, pad_token_id=49407)
    )


class Words:
    """CLIP's tokenizer from a folder (vocab.json, merges.txt), padded with the end token as SD1.5 does."""

    def __init__(self, folder):
        from transformers import CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(str(folder))
        self.cache = {}

    def __call__(self, texts):
        """List of strings -> (B, 77) int64; a text longer than 75 tokens is an error, never cut."""
        return torch.stack([self._ids(text) for text in texts])

    def _ids(self, text):
        if text not in self.cache:
            ids = self.tokenizer(text)["input_ids"]
            if len(ids) > TOKENS:
                raise ValueError(
                    f"Caption has {len(ids) - 2} tokens, at most {TOKENS - 2} fit: {text[:60]!r}..."
                )
            self.cache[text] = torch.tensor(ids + [49407] * (TOKENS - len(ids)))
        return self.cache[text]


class CaptionProbe(nn.Module):
    """Names the word pairs of a caption from what the text encoder makes of it; trained along with it.

    CLIP's encoder tells all words apart because it was trained on them; one that learns from denoising alone
    keeps those that change a picture much (colours) and squashes the others: after 6,750 steps "left" and
    "right" differed by a fiftieth of what "red" and "blue" did, too little to learn motion from. Pairs,
    because "moving left" is not "pans left".
    """

    def __init__(self, captions):
        """Know the pairs of these captions."""
        super().__init__()
        pairs = sorted({pair for text in captions for pair in word_pairs(text)})
        self.places = {pair: place for place, pair in enumerate(pairs)}
        self.linear = Linear(CONTEXT, len(pairs))
        nn.init.constant_(self.linear.bias, -4)  # a text has few of all pairs

    def forward(self, context, texts):
        """Context (B, T, C) of B texts -> how badly it names their pairs (nats a text, summed over pairs)."""
        told = torch.zeros(len(texts), len(self.places))
        for row, text in zip(told, texts, strict=True):
            row[[self.places[pair] for pair in word_pairs(text)]] = 1
        said = self.linear(context.float().mean(1))
        return functional.binary_cross_entropy_with_logits(said, told.to(said), reduction="sum") / len(texts)


def word_pairs(text):
    """Words of a text that stand side by side, as a set of tuples."""
    words = re.findall(r"\w+", text)
    return set(zip(words, words[1:], strict=False))


_LAYERS = (
    (r"resnets\.(\d+)\.norm1\.", r"0.in_layers.0."),
    (r"resnets\.(\d+)\.conv1\.", r"0.in_layers.2."),
    (r"resnets\.(\d+)\.time_emb_proj\.", r"0.emb_layers.1."),
    (r"resnets\.(\d+)\.norm2\.", r"0.out_layers.0."),
    (r"resnets\.(\d+)\.conv2\.", r"0.out_layers.3."),
    (r"resnets\.(\d+)\.conv_shortcut\.", r"0.skip_connection."),
    (r"attentions\.(\d+)\.", r"1."),
)
_ENDS = {
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "conv_in.": "input_blocks.0.0.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
}


def unet_key(key, layers=LAYERS):
    """Diffusers UNet key -> the key of the original SD1.5 UNet (without prefix).

    Raises KeyError if it has none.

    The original numbers all layers of a half in one row, with one more ResBlock a level in the decoder.
    """
    for start, target in _ENDS.items():
        if key.startswith(start):
            return target + key[len(start) :]
    block, rest = re.fullmatch(r"(down_blocks\.\d+|mid_block|up_blocks\.\d+)\.(.*)", key).groups()
    level = int(block.rpartition(".")[2]) if "." in block else 0
    first = {"d": level * (layers + 1) + 1, "u": level * (layers + 1), "m": 0}[block[0]]
    half = {"d": "input_blocks", "u": "output_blocks", "m": "middle_block"}[block[0]]
    if rest.startswith("downsamplers"):
        return f"{half}.{first + layers}.0.op." + rest.rpartition(".")[2]
    if rest.startswith("upsamplers"):
        place = 2 if level > 0 else 1  # after ResBlock and transformer; the deepest level has no transformer
        return f"{half}.{first + layers}.{place}.conv." + rest.rpartition(".")[2]
    for pattern, target in _LAYERS:
        found = re.match(pattern, rest)
        if found:
            place, inner = target.split(".", 1)
            layer = int(found.group(1))
            if block == "mid_block":  # ResBlock, transformer, ResBlock
                return f"{half}.{1 if place == '1' else 2 * layer}.{inner}{rest[found.end() :]}"
            return f"{half}.{first + layer}.{place}.{inner}{rest[found.end() :]}"
    raise KeyError(key)


def checkpoint_tensors(unet, text_encoder, encoder, decoder):
    """State dicts of the four parts -> one SD1.5-layout checkpoint; the autoencoder goes in as TAESD.

    `vae_scale` cancels the host's latent scale (0.18215), so the raw latents are what the UNet sees.
    """
    tensors = {f"model.diffusion_model.{unet_key(k)}": v for k, v in unet.items()}
    for key, value in text_encoder.items():
        if not key.endswith("position_ids"):
            tensors[f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}"] = value
    for name, part in (("encoder", encoder), ("decoder", decoder)):
        tensors |= {f"first_stage_model.taesd_{name}.{k}": v for k, v in part.items()}
    tensors["first_stage_model.vae_scale"] = torch.tensor(0.18215)
    tensors["first_stage_model.vae_shift"] = torch.tensor(0.0)
    return tensors


def checkpoint_parts(tensors, unet, text_encoder):
    """The reverse of `checkpoint_tensors`: {"unet", "text", "encoder", "decoder"} -> state dict.

    `unet` and `text_encoder` are state dicts whose keys say what to look for; a missing tensor is a KeyError.
    """
    tensors = unpack_words(tensors, TEXT_CONFIG["vocab_size"])
    text = "cond_stage_model.transformer.text_model."
    parts = {
        "unet": {key: tensors[f"model.diffusion_model.{unet_key(key)}"] for key in unet},
        "text": {
            key: tensors[text + key.removeprefix("text_model.")]
            for key in text_encoder
            if not key.endswith("position_ids")
        },
    }
    for name in ("encoder", "decoder"):
        prefix = f"first_stage_model.taesd_{name}."
        parts[name] = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
    return parts
