"""Scores the engine against labelled rows; run it with `python -m eval` from a checkout."""
