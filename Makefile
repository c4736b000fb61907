# Every target sets up what it needs; all it asks for is Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= out
# CI adds what optional commands need.
EXTRAS ?= dev

.DEFAULT_GOAL := help
.PHONY: help setup demo test faults lint check format lsun faces bench clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Make the environment in .venv

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is too old; Python >= 3.11 is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(READY)  ## Draw bedrooms, find the planted copies, train a DCGAN on the rest
	$(BIN)/dcgan-data demo $(DEMO)

test: $(READY)  ## Run the tests
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

TIMES ?= 1

faults: $(READY)  ## Kill it, fill the disk, damage its files, and write docs/faults.md (half an hour; TIMES=10: ten times that)
	$(BIN)/python -m pytest -n auto --faults long --faults-times $(TIMES) --faults-table docs/faults.md tests/faults

lint: $(READY)  ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test  ## All that CI checks

format: $(READY)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The paper shows LSUN after one epoch and after five. A processor gets a quarter of the width, for an evening.
TRAIN ?= $(if $(shell command -v nvidia-smi),--epochs 5,--width 32 --batch-size 64 --steps 3000)

lsun: $(READY)  ## De-duplicate an LSUN LMDB and train on it: make lsun SRC=lsun/bedroom_train_lmdb [OUT=out]
	@test -n "$(SRC)" || { echo "error: say where the LMDB is: make lsun SRC=lsun/bedroom_train_lmdb" >&2; exit 1; }
	$(BIN)/dcgan-data run pipelines/lsun_bedroom.toml --source "$(SRC)" --out "$(OUT)"
	$(BIN)/dcgan-data train --prepared "$(OUT)" --preset fast $(TRAIN)

faces: $(READY)  ## Crop and de-duplicate the faces in photos: make faces SRC=photos [OUT=out]
	@test -n "$(SRC)" || { echo "error: say where the photos are: make faces SRC=photos" >&2; exit 1; }
	$(BIN)/dcgan-data run pipelines/faces.toml --source "$(SRC)" --out "$(OUT)"

bench: $(READY)  ## Measure the decode path on the demo's LMDB, or on SRC=, and the trainer
	@test -n "$(SRC)" || $(BIN)/dcgan-data demo --draw-only
	$(BIN)/dcgan-data bench decode --source "$(or $(SRC),demo/lsun)"
	$(BIN)/dcgan-data bench train

clean:  ## Remove the environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
