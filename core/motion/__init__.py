"""Motion modules: the temporal transformer, the model, where it attaches in a UNet, and the file layouts."""
