"""Multi-frame fusion: patch attention between frames, window means, keyframe interpolation (CCDM 3.2)."""
