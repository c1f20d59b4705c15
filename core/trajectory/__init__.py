"""Drawn motion: tracks and camera moves, sampled at the frames of a clip, as flow maps for a ControlNet."""
