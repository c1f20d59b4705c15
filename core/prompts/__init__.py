"""Prompt schedules: text and numbers keyed to frames, and how they blend between keys."""
