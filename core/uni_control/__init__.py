"""Uni-ControlNet: one net for seven kinds of control map at once, and tokens for a picture's content."""
