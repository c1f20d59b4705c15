"""Checkers of golden files, one format a file. They run inside the environment."""
