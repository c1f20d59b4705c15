"""ID tokens in the host: their files, and a text encoder that knows them by name."""

from __future__ import annotations

import copy
import functools
import re

from comfy.sd1_clip import SDTokenizer

from ...core.identity.tokens import IdTokens, read_id_tokens
from .files import full_path

EMBEDDINGS = "embeddings"


def load_id_tokens(file: str, name: str = "") -> IdTokens:
    """The ID tokens of a file in the `embeddings` folder, called `name`; as the file where that is empty."""
    return read_id_tokens(full_path(EMBEDDINGS, file), name.strip())


def own_tokenizer(clip) -> SDTokenizer:
    """The tokenizer inside a text encoder of Stable Diffusion 1.5; raises ValueError for other encoders."""
    own = getattr(clip.tokenizer, getattr(clip.tokenizer, "clip", ""), None)
    if not isinstance(own, SDTokenizer) or getattr(clip.tokenizer, "clip_name", "") != "l":
        raise ValueError("ID tokens need the text encoder of a Stable Diffusion 1.5 checkpoint")
    return own


def apply_id_tokens(clip, tokens: IdTokens):
    """A clone of a CLIP in whose prompts `embedding:NAME` stands for the tokens; `clip` stays as it is.

    A file of that name in the embeddings folder is not looked at. Raises ValueError for tokens of another
    width than the text encoder's.
    """
    own = own_tokenizer(clip)
    tokens.check_width(own.embedding_size)
    knowing = copy.copy(own)
    knowing._try_get_embedding = functools.partial(_find, own._try_get_embedding, tokens)
    if knowing.embedding_directory is None:
        knowing.embedding_directory = []  # without folders the host would not look for names at all
    clip = clip.clone()
    clip.tokenizer = copy.copy(clip.tokenizer)
    setattr(clip.tokenizer, clip.tokenizer.clip, knowing)
    return clip


def _find(otherwise, tokens: IdTokens, text: str):
    """What the host's tokenizer asks of the text behind `embedding:`: vectors or None, and the text left."""
    word, *rest = text.split()
    found = re.fullmatch(rf"{re.escape(tokens.name)}([,.;:!?]*)", word)
    if not found:
        return otherwise(text)
    return tokens.vectors, " ".join([found[1], *rest]).strip()
