"""What the papers report about a clip, each number with its definition and unit."""
