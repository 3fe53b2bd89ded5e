# The environments live in the checkout: .venv-edge is the edge alone, .venv is everything.
PYTHON ?= python3

.PHONY: demo test check lint clean

demo: .venv-edge/installed
	@.venv-edge/bin/python -m edge.demo

test: .venv/installed
	.venv/bin/python -m pytest

check: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

clean:
	rm -rf .venv .venv-edge .venv-tflite build dist *.egg-info

.venv-edge/installed: setup.cfg
	@echo "Setting up the edge (Python, OpenCV, LiteRT; no TensorFlow) ..."
	@$(PYTHON) -m venv .venv-edge
	@.venv-edge/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

.venv/installed: setup.cfg
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
	@touch $@
