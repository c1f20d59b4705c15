"""One identity through a clip: extended ID tokens, and the pictures and masks they learn from."""
