"""A network camera on loopback: GStreamer's RTSP server, run by the system's own Python, which has its bindings.

/usr/bin/python3 tests/rtsp_server.py PORT
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

if __name__ == "__main__":
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 "
        "! x264enc tune=zerolatency key-int-max=15 ! rtph264pay name=pay0 pt=96 )"
    )
    server.get_mount_points().add_factory("/stream", factory)
    server.attach(None)
    GLib.MainLoop().run()
