"""The token table of a demo checkpoint without the words that it never met.

CLIP's table has 49,408 rows, and the sprite world's captions use some forty of them. The others still are
what they were drawn as, and made up a quarter of the file. So the file holds the known rows and their numbers
(`ROWS`); on reading, the rest becomes 0: a word that the family does not know says nothing.
"""

TABLE = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
ROWS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.rows"
KNOWN = 2  # a row that was trained is several times as long as one that was not


def pack_words(tensors):
    """Checkpoint tensors with the known rows of the token table only.

    TABLE (V, C) becomes (K, C), and ROWS (K,) int32 says which they are: those longer than twice the median.
    Raises ValueError when no row stands out, as in a family that was not trained.
    """
    table = tensors[TABLE]
    lengths = table.float().norm(dim=1)
    rows = (lengths > KNOWN * lengths.median()).nonzero().flatten()
    if not len(rows):
        raise ValueError("No row of the token table stands out: this text encoder has not been trained.")
    return {**tensors, TABLE: table[rows], ROWS: rows.int()}


def unpack_words(tensors, vocabulary):
    """The reverse: TABLE with all `vocabulary` rows, 0 where the word is not known; others pass unchanged."""
    if ROWS not in tensors:
        return tensors
    known = tensors[TABLE]
    table = known.new_zeros(vocabulary, known.shape[1])
    table[tensors[ROWS].long()] = known
    return {**{key: value for key, value in tensors.items() if key != ROWS}, TABLE: table}
