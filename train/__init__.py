"""From labelled photos to a float bundle: the only package, but for one module of `convert`, that uses TensorFlow."""

import models as models  # First of all: it sets OpenCV's limit for the size of a picture.
