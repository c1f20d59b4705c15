"""Pure torch: tensors and dataclasses in, tensors out. Nothing here knows the host."""
