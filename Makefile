# The environments live in the checkout: .venv-edge is the edge alone, .venv is everything, and .venv-tflite the fallback
# runtime, which exists for Python 3.11 only.
PYTHON ?= python3
FALLBACK := $(shell $(PYTHON) -c 'import sys; print(".venv-tflite/installed" if sys.version_info[:2] == (3, 11) else "")')

.PHONY: demo test check clean

demo: .venv-edge/installed
	@.venv-edge/bin/python -m edge.demo

test: .venv/installed $(FALLBACK)
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

.venv-tflite/installed: setup.cfg
	$(PYTHON) -m venv .venv-tflite
	.venv-tflite/bin/python -m pip install --quiet --disable-pip-version-check 'tflite-runtime==2.14.*' 'numpy<2' \
		'opencv-python-headless<4.12'
	@touch $@
