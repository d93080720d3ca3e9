"""Identifiers drawn from the system's entropy."""

from __future__ import annotations

import os

from meridian.observability.context import generate_trace_id

__all__ = [
    "generate_correlation_id",
    "generate_span_id",
    "generate_trace_id",
    "new_id",
    "new_trace_id",
]

_DEFAULT_BYTES = 16


def new_trace_id(entropy_bytes: int = _DEFAULT_BYTES) -> str:
    """Return random hexadecimal digits.

    Args:
        entropy_bytes: Bytes of entropy, two digits each; 0 and less mean 16.
    """
    return os.urandom(entropy_bytes if entropy_bytes > 0 else _DEFAULT_BYTES).hex()


def new_id(prefix: str | None = None) -> str:
    """Return 32 random hexadecimal digits, behind ``prefix`` and an underscore if there is a prefix."""
    return f"{prefix}_{new_trace_id()}" if prefix else new_trace_id()


def generate_correlation_id() -> str:
    """Return a version 4 UUID with dashes."""
    return generate_trace_id()


def generate_span_id() -> str:
    """Return a version 4 UUID with dashes."""
    return generate_trace_id()
