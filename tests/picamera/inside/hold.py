"""Another program that uses the camera, until it is ended."""

import time

from picamera2 import Picamera2

camera = Picamera2()
camera.start()
print("held", flush=True)
time.sleep(600)
