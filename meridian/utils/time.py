"""Points in time and how far they are apart."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "generate_monotonic_timestamp",
    "generate_timestamp",
    "monotonic_ns",
    "now_rfc3339",
    "now_ts_ms",
    "time_block",
    "utc_now_iso",
]


def now_ts_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def now_rfc3339() -> str:
    """Return the time in UTC as RFC 3339, always with six fraction digits: ``2026-01-31T12:00:00.000000Z``."""
    return utc_now_iso()


def utc_now_iso(precise: bool = True) -> str:
    """Return the time in UTC as ISO 8601 with a ``Z``.

    Args:
        precise: ``True`` for six fraction digits, ``False`` for whole seconds (cut off, not rounded).
    """
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{nanoseconds // 1000:06d}Z" if precise else f"{text}Z"


def monotonic_ns() -> int:
    """Return nanoseconds that never go back; only differences mean something."""
    return time.monotonic_ns()


@contextmanager
def time_block(name: str | None = None) -> Generator[float, None, None]:
    """Give a block the time it started, in ``time.monotonic()`` seconds.

    Args:
        name: A label for the reader; nothing is done with it.
    """
    yield time.monotonic()


def generate_timestamp() -> float:
    """Return seconds since the epoch."""
    return time.time()


def generate_monotonic_timestamp() -> float:
    """Return ``time.perf_counter()`` seconds; only differences mean something."""
    return time.perf_counter()
