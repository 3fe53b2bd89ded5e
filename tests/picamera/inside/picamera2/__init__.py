"""The real picamera2, fitted to libcamera 0.4's virtual camera, which is no Raspberry Pi's.

That camera has no raw pictures, wants a buffer with two planes for NV12, and leaves it open whether a frame is whole.
"""

import mmap
import os
import pathlib
import sysconfig

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
Picamera2._get_raw_modes = lambda self: [{"format": "SRGGB8", "size": (1280, 720)}]
DmaAllocator.allocate = _allocate
libcamera.FrameMetadata.status = property(lambda self: libcamera.FrameMetadata.Status.Success)
