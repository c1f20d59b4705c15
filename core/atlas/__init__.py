"""Layered neural atlases: a clip as two unwrapped layer pictures, which edits are painted on once."""
