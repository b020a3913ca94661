"""Commands that make the learned parts of the package again: `python -m training.…`."""
