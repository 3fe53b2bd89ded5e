"""The real picamera2, fitted to libcamera 0.4's virtual camera, which is no Raspberry Pi's.

That camera has no raw pictures, wants a buffer with two planes for NV12, leaves it open whether a frame is whole, and
gives the next one as soon as it gets a buffer for it. Nor is it locked to a process, as a real one is.
"""

import contextlib
import fcntl
import mmap
import os
import pathlib
import sysconfig
import threading
import time

_REAL = pathlib.Path(sysconfig.get_path("purelib")) / "picamera2"
__path__ = [str(_REAL)]
exec(compile((_REAL / "__init__.py").read_text(), str(_REAL / "__init__.py"), "exec"))

import libcamera  # noqa: E402

from picamera2.allocators.dmaallocator import DmaAllocator  # noqa: E402
from picamera2.picamera2 import Picamera2  # noqa: E402


def _allocate(self, configuration, _):
    self.close_buffers()
    for stream in configuration:
        made = self.frame_buffers.setdefault(stream.stream, [])
        for number in range(stream.buffer_count):
            descriptor = self.dmaHeap.alloc(f"test-{number}", stream.frame_size).get()
            luma, planes = stream.stride * stream.size.height, [libcamera.FrameBuffer.Plane() for _ in range(2)]
            for plane, offset, length in zip(planes, (0, luma), (luma, luma // 2), strict=True):
                plane.fd, plane.offset, plane.length = descriptor, offset, length
            made.append(libcamera.FrameBuffer(planes))
            self.open_fds.append(descriptor)
            own = made[-1].planes[0].fd  # a copy that libcamera made
            self.libcamera_fds.append(own)
            self.mapped_buffers_used[own] = False
            self.mapped_buffers[made[-1]] = mmap.mmap(own, stream.frame_size)


def _close_buffers(self):
    """What the real `allocate` begins with."""
    self.libcamera_fds = []
    self.cleanup()
    for descriptor in self.open_fds:
        os.close(descriptor)
    self.frame_buffers, self.open_fds = {}, []


DmaAllocator.close_buffers = _close_buffers
def _queue_request(self, request, queue=libcamera.Camera.queue_request):
    def later():
        # A test makes the camera stop with that file. RuntimeError: it was closed in the meantime.
        with contextlib.suppress(RuntimeError):
            if not pathlib.Path("/work/stopped").exists():
                queue(self, request)

    _due[0] = max(_due[0] + 1 / 5, time.monotonic())
    timer = threading.Timer(_due[0] - time.monotonic(), later)
    timer.daemon = True
    timer.start()


def _acquire(self, acquire=libcamera.Camera.acquire):
    acquire(self)
    try:
        fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        acquire(self)  # A second time: libcamera then says what it says of a camera that another process has.


_due = [0.0]
_lock = os.open("/work/lock", os.O_CREAT | os.O_RDWR)
libcamera.Camera.queue_request = _queue_request
libcamera.Camera.acquire = _acquire
Picamera2._get_raw_modes = lambda self: [{"format": "SRGGB8", "size": (1280, 720)}]
DmaAllocator.allocate = _allocate
libcamera.FrameMetadata.status = property(lambda self: libcamera.FrameMetadata.Status.Success)
