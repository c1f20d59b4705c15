"""The developer's front door behind `dev.py`: set-up, a real ComfyUI host, demo, golden files and benchmarks.

Standard library only, except the files that say they run inside the environment that set-up makes.
"""
