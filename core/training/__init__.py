"""Training: one recipe a file over one loop.

Long runs belong to `python -m core.training`, never to a test.
"""
