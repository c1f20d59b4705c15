"""The video ControlNet: an image UNet's encoder with motion modules; and its files."""
