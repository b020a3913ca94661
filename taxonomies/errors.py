"""Errors of the taxonomies package.

TaxonomyError                   anything below; a `ValueError`
├── TaxonomyFormatError         a source cannot be read as what it claims to be
├── TaxonomyNotInstalledError   a name that is not (wholly) in the cache
└── TaxonomyDownloadError       the package index or the network did not give a source
"""

from __future__ import annotations


class TaxonomyError(ValueError):
    """Base of all errors that this package raises on bad input or a bad installation."""


class TaxonomyFormatError(TaxonomyError):
    """A source cannot be read: says which file, what is wrong and what was expected."""


class TaxonomyNotInstalledError(TaxonomyError):
    """A taxonomy is not installed, or only in part: says which command installs it."""


class TaxonomyDownloadError(TaxonomyError):
    """A source could not be fetched or has the wrong hash: says which and what to do."""
