"""The header ``traceparent``: which span a message comes from, as the W3C writes it down.

A message that carries it belongs to a trace that is kept, and one that doesn't is left out: so what was decided where a
trace begins holds wherever its messages go, through other processes too.

Source: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

from typing import NamedTuple

HEADER = "traceparent"
"""Name of the header."""

MERGED = "meridian.merged"
"""Name of the header that holds the ``traceparent`` of messages that were merged into this one."""

MOST_MERGED = 8
"""So many of them are kept, the latest."""

NO_SPAN = "0" * 16
"""Stands for the parent of a span that has none."""

_DIGITS = frozenset("0123456789abcdef")


class Parent(NamedTuple):
    """What the header says.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits, or `NO_SPAN`.
    """

    trace_id: str
    span_id: str


def read(header: object) -> Parent | None:
    """Return what a header says, or ``None`` if its trace is left out, or it isn't well formed."""
    if not isinstance(header, str):
        return None
    parts = header.split("-")
    # Later versions may say more behind it; `ff` is none.
    if [len(part) for part in parts[:4]] != [2, 32, 16, 2] or (len(parts) > 4 and parts[0] == "00"):
        return None
    if parts[0] == "ff" or not _DIGITS.issuperset("".join(parts[:4])):
        return None
    if not int(parts[3], 16) & 1 or not int(parts[1], 16):
        return None
    return Parent(parts[1], parts[2])


def write(trace_id: str, span_id: str) -> str:
    """Return the header of what comes from that span of a trace that is kept; see `as_hex`."""
    return f"00-{trace_id}-{span_id}-01"


def as_hex(trace_id: str) -> str:
    """Return a trace id in the form of the W3C: a UUID without its dashes, or 32 digits made from any other text."""
    digits = trace_id.replace("-", "").lower()
    if len(digits) == 32 and _DIGITS.issuperset(digits) and int(digits, 16):
        return digits
    from hashlib import blake2b  # imported here: ids that Meridian draws don't need it

    return blake2b(trace_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def as_uuid(digits: str) -> str:
    """Return 32 hexadecimal digits in the form that trace ids of messages have."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
