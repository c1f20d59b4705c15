"""Control sequences: what steers each frame, made from a source clip or from the frames already made."""
