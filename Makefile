# Everything is set up in .venv by the first command that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test slow search figures studies models notebooks bench lint clean

demo: $(VENV)/.run-installed
	$(BIN)/aocsim run heart --out results/heart
	@echo "The pictures are in results/heart: samples.png, settling.png, voltages.png, bias.png, timeline.png"

test: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -rs -n auto --maxprocesses 8 --dist worksteal

slow: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -rs -m slow

# other random examples with every call
search: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -m "hypothesis and not slow" --hypothesis-profile search -n auto --maxprocesses 8

figures: $(VENV)/.run-installed
	$(BIN)/python docs/figures.py
	$(BIN)/python docs/diffusion.py

# about forty minutes on two cores
studies: $(VENV)/.run-installed
	for name in distributions_2d steps noise averaging readout relaxation; do \
		$(BIN)/aocsim run $$name --out results/$$name || exit 1; done
	$(BIN)/aocsim run distributions_2d --set samples=1000 --out results/distributions_2d_1000
	$(BIN)/python benchmarks/studies.py results
	cp results/distributions_2d/distributions.png docs/figures/

# about an hour; all from the first one, but the model that was interrupted goes on
models: $(VENV)/.train-installed
	for recipe in models/*.toml; do $(BIN)/aocsim train $$recipe || exit 1; done

notebooks: $(VENV)/.dev-installed
	$(BIN)/python notebooks/execute.py

bench: $(VENV)/.bench-installed
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/table.py

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "aocsim needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run-installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev-installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.run-installed

$(VENV)/.train-installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[train]'
	@touch $@ $(VENV)/.run-installed

$(VENV)/.bench-installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@ $(VENV)/.run-installed

clean:
	rm -rf $(VENV) build dist results .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find aocsim -name '*.nb[ic]' -delete
