"""From labelled photos to a float bundle: the only package, but for one module of `convert`, that uses TensorFlow."""

import os

import models as models  # First of all: it sets OpenCV's limit for the size of a picture.

# Before TensorFlow is loaded: it leaves oneDNN off on processors without AVX512-VNNI, and has no gradients of grouped
# convolutions then. So every processor computes alike.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
