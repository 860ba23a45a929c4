# One door for tools. Needs Python >= 3.11, make and git; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
export NO_ALBUMENTATIONS_UPDATE = 1
unexport PYTHONDONTWRITEBYTECODE  # some hundred processes of tests would each compile the package

.PHONY: help install train test check sheet docs bench cluster gpu siege clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "segkd needs Python >= 3.11; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -e '.[pretrained,dev]'
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true  # pip would do it on one core; a template does not compile
	touch $@

install: .venv/installed  ## make .venv with everything in it

train: .venv/installed  ## train the method on the embedded data set and score it (about three minutes of one core)
	@run=runs/quickstart-$$(date +%Y%m%d-%H%M%S); \
	$(BIN)/segkd train --config configs/quickstart.yaml --config configs/methods/virtual_teacher.yaml --out $$run && \
	$(BIN)/segkd evaluate --run $$run --split test --out $$run/scores.json && \
	echo "run folder: $$run"

sheet: .venv/installed  ## draw a contact sheet of the embedded data set
	$(BIN)/segkd sheet --data configs/quickstart.yaml --out runs/sheet.png

test: .venv/installed  ## run the tests
	$(BIN)/python -m pytest -n auto --dist worksteal

check: .venv/installed  ## format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist worksteal

docs: .venv/installed  ## build the site of the docs into build/docs, warnings as errors
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

bench: .venv/installed  ## the speed figures
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/frequency.py

cluster: .venv/installed  ## a grid on a local ray cluster of two nodes (about a minute)
	$(BIN)/python benchmarks/cluster.py

gpu:  ## every recipe and the speed on a GPU, at most eight minutes, with the torch that is there; on a CPU all is skipped
	@python=$(PYTHON); $$python -c 'import torch, timm, accelerate, jsonargparse' 2>/dev/null || \
	{ $(MAKE) install && python=$(BIN)/python; }; $$python -m benchmarks.gpu

siege: .venv/installed  ## kills, power cuts, full disks, hostile and damaged files: twenty minutes (MORE=5: five times as many)
	$(BIN)/python -m benchmarks.siege $(if $(MORE),--more $(MORE))

clean:  ## remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build *.egg-info
