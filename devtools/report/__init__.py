"""`dev.py report`: every claim of the five papers that the demo family can show or refute, on one page."""
