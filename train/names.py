"""The backbones' names, known without importing TensorFlow."""

BACKBONES = ("mobilenet_v2", "mobilenet_v2_0.35", "mobilenet_v3_small")
