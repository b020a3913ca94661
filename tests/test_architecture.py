"""Imports point one way, and importing the package costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "taxonomies": {"taxonomies"},
    "extractor": {"taxonomies", "extractor"},
    "training": {"taxonomies", "extractor", "training"},
    "eval": {"taxonomies", "extractor", "eval"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        ours = set(imported(file)) & ALLOWED.keys()
        assert ours <= ALLOWED[package], f"{file} imports {ours - ALLOWED[package]}"


@pytest.mark.parametrize(
    "module", ["extractor", "taxonomies", "extractor.factories", "extractor.cli"]
)
def test_import_costs_nothing(module):
    heavy = {"faiss", "sentence_transformers", "transformers", "sklearn", "rdflib"}
    if module != "extractor.factories":
        heavy |= {"spacy", "torch"}  # spaCy itself imports torch where it is installed
    code = f"import sys, {module}; print(sorted({heavy!r} & sys.modules.keys()))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["extractor", "taxonomies"])
def test_public_names_exist(package):
    module = __import__(package)
    assert len(module.__all__) == len(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018
