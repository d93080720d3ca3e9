"""Payloads by name: which object a JSON argument of a history stands for.

A history holds JSON only. Most arguments stand for themselves; what JSON can't say has a form of its own:

* ``{"$tuple": [...]}`` a tuple, ``{"$bytes": [n, size]}`` so many bytes, the first of which tell n.

Payloads are made anew at each put, so that identity can be told.
"""

from __future__ import annotations

import copy
from typing import Any


def payload(arg: Any) -> Any:
    """Make the payload that ``arg`` stands for."""
    if isinstance(arg, dict):
        if "$tuple" in arg:
            return tuple(payload(each) for each in arg["$tuple"])
        if "$bytes" in arg:
            n, size = arg["$bytes"]
            return bytes([n % 256]) * size
    # What can't change is its own copy; and a copy of a term would be a number, which CrossHair can't reason about.
    return copy.deepcopy(arg) if isinstance(arg, (list, dict)) else arg


def shown(value: Any) -> str:
    """Return a payload of the kit's own as text, shortened; they are made up, so they may be shown."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes of {value[0]}" if value else "0 bytes"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def has_identity(value: Any) -> bool:
    """Say whether a copy of ``value`` can be told from it."""
    return isinstance(value, (list, dict, bytearray)) or (isinstance(value, tuple) and len(value) > 0)


def same(one: Any, other: Any) -> bool:
    """Say whether two payloads are equal and of the same type, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)
