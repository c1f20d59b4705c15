"""The only files that touch ComfyUI's internals."""
