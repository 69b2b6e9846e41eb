# `make demo` and `make test` install what they need into .venv and run; `make bench` measures speed; `make help` lists all.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
OUT ?= demo-output
PEERS := .venv-peers
DRR_PEERS := .venv-drr
CASES ?= 2

.PHONY: help install demo test lint types layers pytest bench bench-projector bench-deformable screenshots clean

help:
	@echo "make demo   install into .venv, run the main job on a simulated case, results in $(OUT)/"
	@echo "make test   install into .venv, run lint, types, layers and every test suite"
	@echo "make bench  measure speed: detection, landmark to transform, event loop, memory; the next one too"
	@echo "make bench-deformable  the deformable registration beside greedy, SyN, demons and ConvexAdam"
	@echo "make screenshots  take the pictures of README and tutorial anew"
	@echo "make bench-projector  our projector beside nanodrr, DiffDRR and plastimatch"
	@echo "make clean  remove .venv, .venv-peers, .venv-drr and the demo's output"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	sh Testing/host/install-system-libraries.sh
	touch $@

demo: install
	$(BIN)/python Testing/demo.py --out $(OUT)

test: lint types layers pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports

pytest: install
	$(BIN)/python -m pytest --cov --cov-report=
	$(BIN)/coverage report --include="LandmarkFusionLogic/*"
	$(BIN)/coverage report --include="LandmarkFusion/*" --fail-under=85

bench: install
	$(BIN)/python Testing/benchmarks/bench_detect.py
	$(BIN)/python Testing/benchmarks/bench_panel.py
	$(BIN)/python Testing/benchmarks/bench_live_drr.py
	$(MAKE) bench-deformable

bench-deformable: install $(PEERS)/.installed
	$(BIN)/python Testing/benchmarks/bench_deformable.py --cases $(CASES)

# Line by line: a peer that cannot be had does not keep the others away; the benchmark names it.
$(PEERS)/.installed: Testing/benchmarks/requirements-peers.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	grep '==' $< | while read -r wanted; do $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< "$$wanted" || echo "$$wanted could not be installed"; done
	touch $@

bench-projector: install $(DRR_PEERS)/.installed
	$(BIN)/python Testing/benchmarks/bench_projector.py --peers $(DRR_PEERS)

$(DRR_PEERS)/.installed: Testing/benchmarks/requirements-drr.txt
	test -x $(DRR_PEERS)/bin/python || $(PYTHON) -m venv $(DRR_PEERS)
	grep '==' $< | while read -r wanted; do $(DRR_PEERS)/bin/python -m pip install --quiet --disable-pip-version-check $$wanted || echo "$$wanted could not be installed"; done
	touch $@

screenshots: demo
	PYTHONPATH=Testing $(BIN)/python Testing/screenshots.py

clean:
	rm -rf $(VENV) $(PEERS) $(DRR_PEERS) $(OUT)
