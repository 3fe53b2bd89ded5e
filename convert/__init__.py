"""Float bundle -> full-integer bundle, loaded, run and compared before it is written."""

import os

# Before TensorFlow is loaded: it leaves oneDNN off on processors without AVX512-VNNI, and has no gradients of grouped
# convolutions then. So every processor computes alike.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
