"""Errors of the evaluation."""

from __future__ import annotations


class EvaluationError(ValueError):
    """Something given on the command line cannot be evaluated: says what and what to do."""


class RowError(EvaluationError):
    """A file of labelled rows cannot be used: says which file, which row and why."""
