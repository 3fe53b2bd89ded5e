"""The child process of `edge.recording.video`: makes an MP4 of JPEGs with their times. It alone imports PyAV."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import IO, Any

import av

from edge.recording.video import HEADER

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_MILLISECOND = Fraction(1, 1000)
# Of libavutil: AVCOL_RANGE_JPEG, AVCOL_RANGE_MPEG, and AVCOL_SPC_BT470BG, the colours of every JPEG.
_FULL_RANGE, _VIDEO_RANGE, _BT601 = 2, 1, 5
OPTIONS = {"preset": "veryfast", "crf": "25"}
"""Of x264: 720p takes a small computer a tenth of the time that it lasts, and about 50 kB a second."""


def main(argv: list[str]) -> int:
    """Write the file named first, with the title named second, from standard input."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # The parent ends the input when it is done.
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    os.nice(10)  # A clip can wait; the next look cannot.
    try:
        encode(sys.stdin.buffer, *argv)
        with open(argv[0], "rb") as file:
            os.fsync(file.fileno())  # Here it keeps nobody waiting.
    except (av.error.FFmpegError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def encode(pictures: IO[bytes], path: str, title: str) -> None:
    """H.264 as every player and browser shows it; the first picture's size is that of the clip.

    Args:
        pictures: `edge.recording.video.HEADER` and a JPEG, again and again.
        path: the file.
        title: what players show.
    """
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["title"] = title
        stream: Any = None
        for milliseconds, picture in decoded(pictures):
            if stream is None:
                stream = container.add_stream("libx264", rate=30, options=OPTIONS)
                # The halved colours of yuv420p need even sides.
                stream.width, stream.height = picture.width // 2 * 2, picture.height // 2 * 2
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = _MILLISECOND
                stream.codec_context.color_range, stream.codec_context.colorspace = _VIDEO_RANGE, _BT601
                stream.codec_context.thread_count = 1
            frame = picture.reformat(
                stream.width, stream.height, "yuv420p", src_color_range=_FULL_RANGE, dst_color_range=_VIDEO_RANGE
            )
            frame.pts, frame.time_base = milliseconds, _MILLISECOND
            frame.pict_type = 0  # A JPEG stands for itself; here each picture may rest on the one before.
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))


def decoded(pictures: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """Each picture and its time in milliseconds."""
    decoder = av.CodecContext.create("mjpeg", "r")
    while len(header := pictures.read(HEADER.size)) == HEADER.size:
        milliseconds, size = HEADER.unpack(header)
        for picture in decoder.decode(av.Packet(pictures.read(size))):
            yield milliseconds, picture


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
