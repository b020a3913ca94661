# Two commands do all on a machine with Python 3.11, pip and make: `make demo` and `make test`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TAXONOMY := $(VENV)/.taxonomy

.PHONY: demo test check clean

demo: $(TAXONOMY)
	$(BIN)/jobshift extract examples/data-analyst.txt

test: $(TAXONOMY)
	$(BIN)/pytest

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch goes first and alone: a build without CUDA, where pip is told of one, is kept by the rest.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# The default taxonomy goes to the user's cache; installing it again checks it and does nothing.
$(TAXONOMY): $(INSTALLED)
	$(BIN)/jobshift taxonomy install default
	touch $@

clean:
	rm -rf $(VENV)
