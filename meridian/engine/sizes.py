"""How many bytes a payload counts for."""

from __future__ import annotations

import sys
from typing import Any


def payload_bytes(payload: Any) -> int:
    """Return the length of bytes and text (as UTF-8), and ``sys.getsizeof`` (shallow) of anything else."""
    if isinstance(payload, (bytes, bytearray)):
        return len(payload)
    if isinstance(payload, memoryview):
        return payload.nbytes
    if isinstance(payload, str):
        return len(payload) if payload.isascii() else len(payload.encode("utf-8", "surrogatepass"))
    return sys.getsizeof(payload)
