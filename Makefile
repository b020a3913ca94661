# On a machine with Python 3.11, pip and make: `make demo`, `make test`, `make eval`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TAXONOMY := $(VENV)/.taxonomy
SHARED := ../shared/data
ESCO := $(if $(wildcard $(SHARED)/esco-1.1.1),$(VENV)/.esco)

.PHONY: demo test check eval clean

demo: $(TAXONOMY)
	$(BIN)/jobshift extract examples/data-analyst.txt

test: $(TAXONOMY)
	$(BIN)/pytest

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every recorded figure again; fails where one falls by more than the noise (docs/evaluation.md).
eval: $(TAXONOMY) $(ESCO)
	$(BIN)/python -m eval suite --shared $(SHARED) --out runs/eval

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

# The version of ESCO that the labelled sets speak of.
$(VENV)/.esco: $(INSTALLED)
	$(BIN)/jobshift taxonomy install esco-1.1.1 --from $(SHARED)/esco-1.1.1
	touch $@

clean:
	rm -rf $(VENV)
