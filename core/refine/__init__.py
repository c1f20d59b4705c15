"""Refinement of parts of a clip: face tracks, crops and their way back, and tiles that agree."""
