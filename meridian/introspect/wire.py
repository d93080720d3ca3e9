"""What server and client agree on: where the socket is, and what a line says.

The protocol is lines of JSON. A client asks ``{"op": "hello", "protocol": 1}``, ``{"op": "numbers"}``, ``{"op": "snapshot"}``,
``{"op": "events", "since": 0, "limit": 100}``, or ``{"op": "logs"}``; each line is answered by one line with ``"ok"``. There is no request that changes
anything. ``snapshot`` is for whoever has nothing but a shell: ``numbers`` are what `Client` makes the same of (`meridian.introspect.taken`), for a
fraction of what it costs the process that is looked at.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import tempfile
from pathlib import Path
from typing import Any

PROTOCOL = 1
"""Version of the requests and answers; the snapshot in them has one of its own."""

MAX_REQUEST = 64 * 1024
"""Most bytes of a request."""

MAX_ANSWER = 256 * 1024 * 1024
"""Most bytes of an answer."""


def socket_directory() -> Path:
    """Return the folder of this user's sockets: in ``XDG_RUNTIME_DIR``, or else among the temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):
        return Path(runtime) / "meridian"
    return Path(tempfile.gettempdir()) / f"meridian-{os.getuid()}"


def socket_path(pid: int) -> Path:
    """Return where process ``pid`` of this user serves, unless it was told another place."""
    return socket_directory() / f"{pid}.sock"


def line(record: dict[str, Any]) -> bytes:
    """Return a record as a line."""
    return _ENCODER.encode(record).encode() + b"\n"


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def user_of_peer(connection: socket.socket) -> int | None:
    """Return the user at the other end, or ``None`` where the system doesn't say."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return int(user)
