"""jobshift: which skills a job ad asks for, and what machine learning does to the role.

from extractor import SkillExtractor

extractor = SkillExtractor.load()
result = extractor.extract(text, title="Data Analyst")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extractor.errors import (
        ArtefactError,
        InputFileError,
        InvalidPostingError,
        JobshiftError,
        OutputFileError,
    )
    from extractor.files import read_postings, read_results, write_results
    from extractor.interfaces import Encoder
    from extractor.pipeline import SkillExtractor, build_pipeline
    from extractor.records import (
        Candidate,
        Duplicate,
        Evidence,
        Experience,
        HtmlSource,
        JobPosting,
        JobResult,
        OccupationMatch,
        Provenance,
        Qualification,
        RoleAssessment,
        Skill,
        SkillMatch,
        TaskMatch,
        TaskScores,
        Years,
        Zone,
    )

_MODULES = {
    "errors": (
        "ArtefactError",
        "InputFileError",
        "InvalidPostingError",
        "JobshiftError",
        "OutputFileError",
    ),
    "files": ("read_postings", "read_results", "write_results"),
    "interfaces": ("Encoder",),
    "pipeline": ("SkillExtractor", "build_pipeline"),
    "records": (
        "Candidate",
        "Duplicate",
        "Evidence",
        "Experience",
        "HtmlSource",
        "JobPosting",
        "JobResult",
        "OccupationMatch",
        "Provenance",
        "Qualification",
        "RoleAssessment",
        "Skill",
        "SkillMatch",
        "TaskMatch",
        "TaskScores",
        "Years",
        "Zone",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ArtefactError",
    "Candidate",
    "Duplicate",
    "Encoder",
    "Evidence",
    "Experience",
    "HtmlSource",
    "InputFileError",
    "InvalidPostingError",
    "JobPosting",
    "JobResult",
    "JobshiftError",
    "OccupationMatch",
    "OutputFileError",
    "Provenance",
    "Qualification",
    "RoleAssessment",
    "Skill",
    "SkillExtractor",
    "SkillMatch",
    "TaskMatch",
    "TaskScores",
    "Years",
    "Zone",
    "build_pipeline",
    "read_postings",
    "read_results",
    "write_results",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import extractor` itself costs nothing."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'extractor' has no attribute {name!r}")
    value = getattr(import_module(f"extractor.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
