"""The device: camera -> sightings -> alerts. Never imports TensorFlow."""
