"""Training and measuring data: the sprite world, where everything a paper reports is known exactly."""
