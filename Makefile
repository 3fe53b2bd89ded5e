# The environments live in the checkout: .venv-edge is the edge alone, .venv is everything, .venv-tflite the fallback
# runtime, which exists for Python 3.11 only, and .venv-mediapipe another reader of our models, with its own OpenCV.
# .arm64 is an emulated Raspberry Pi, .picamera a Debian with the Raspberry Pi's camera software.
PYTHON ?= python3
# A worker for each core, but no more than 4, as each may import TensorFlow and take 2 GB; a file's tests stay together,
# as they share what they made.
AT_ONCE := --numprocesses logical --maxprocesses 4 --dist loadfile
FALLBACK := $(shell $(PYTHON) -c 'import sys; print(".venv-tflite/installed" if sys.version_info[:2] == (3, 11) else "")')

.PHONY: demo test test-faults test-arm64 test-picamera2 check clean

demo: .venv-edge/installed
	@.venv-edge/bin/python -m edge.demo

test: .venv/installed .venv-mediapipe/installed $(FALLBACK)
	.venv/bin/python -m pytest $(AT_ONCE)

# About a quarter of an hour. `make test` has a short form of it.
test-faults: .venv/installed
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]' || echo "no atheris here"
	.venv/bin/python -m tests.faults
	EDGE_WATCH_FUZZ=100000 .venv/bin/python -m pytest --quiet --override-ini timeout=3600 tests/test_fuzz.py
	.venv/bin/python -m tests.faults.guided

test-arm64: ../shared/data .venv-edge/installed .arm64/installed
	@.venv-edge/bin/python -m tests.arm64.compare

test-picamera2: .venv/installed .picamera/installed
	@.venv/bin/python -m pytest tests/picamera/cases.py

check: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

clean:
	rm -rf --one-file-system .venv .venv-edge .venv-tflite .venv-mediapipe .arm64 .picamera build dist *.egg-info

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

.venv-mediapipe/installed: setup.cfg
	$(PYTHON) -m venv .venv-mediapipe
	.venv-mediapipe/bin/python -m pip install --quiet --disable-pip-version-check 'mediapipe==1.2.*'
	@touch $@

.arm64/installed: .venv-edge/installed tests/arm64/make_root.sh
	@bash tests/arm64/make_root.sh .arm64 .venv-edge/bin/python
	@touch $@

# Without root or mmdebstrap there will be none, and the tests say so.
.picamera/installed: setup.cfg tests/picamera/make_root.sh tests/picamera/udmabuf_shim.c
	@bash tests/picamera/make_root.sh .picamera

../shared/data:
	@echo "$@: expected the photos that this test shows the model, found no such folder; put them there" >&2
	@exit 1
