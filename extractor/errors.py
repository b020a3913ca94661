"""Errors of the extractor package.

JobshiftError             anything below; a `ValueError`
├── InvalidPostingError   a job ad that cannot be read (empty, too long, broken characters)
├── InputFileError        a file of ads that cannot be read at all (missing column, truncated)
├── OutputFileError       a place for results that cannot be written or resumed
└── ArtefactError         an index, a model or a saved pipeline that does not fit or is missing
"""

from __future__ import annotations


class JobshiftError(ValueError):
    """Base of all errors that this package raises on bad input or a bad installation."""


class InvalidPostingError(JobshiftError):
    """A job ad that cannot be read: says what is wrong, with which value."""


class InputFileError(JobshiftError):
    """A file of ads that cannot be read: says which, what is wrong and what was expected."""


class OutputFileError(JobshiftError):
    """Results cannot be written there, or not resumed: says why and what to do."""


class ArtefactError(JobshiftError):
    """An index, model or pipeline is missing or does not fit: says which command mends it."""
