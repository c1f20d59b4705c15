"""One-shot video tuning (Tune-A-Video), sparse-causal attention, and DDIM inversion."""
