"""Fixtures: a mini taxonomy with a hashing encoder, and the engine that users get."""

from pathlib import Path

import pytest

import taxonomies
from extractor import SkillExtractor
from extractor.index import build_index

MINI = Path(__file__).parent / "data" / "mini_taxonomy.jsonl"


@pytest.fixture(scope="session")
def mini_cache(tmp_path_factory):
    """A cache of its own that holds the mini taxonomy, indexed by the hashing encoder."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBSHIFT_CACHE", str(cache))
        taxonomies.install("mini", source=MINI)
        build_index("mini", encoder="hashing")
    return cache


@pytest.fixture(scope="session")
def mini_engine(mini_cache):
    """The whole engine over the mini taxonomy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBSHIFT_CACHE", str(mini_cache))
        return SkillExtractor.load("mini", encoder="hashing")


@pytest.fixture(scope="session")
def engine():
    """The engine as users load it; `make test` installs its taxonomy."""
    return SkillExtractor.load()
