"""Checks of what nodes are made with; every error names the node, the parameter, the value and the bound."""

from __future__ import annotations

import inspect
import math
from typing import Any


def at_least(node: str, parameter: str, value: int, least: int) -> int:
    """Return ``value`` if it is an int, and at least ``least``.

    Raises:
        TypeError: it is no int.
        ValueError: it is less.
    """
    if isinstance(value, bool) or not isinstance(value, int):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise TypeError(f"node {node!r}: {parameter} must be an int, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"node {node!r}: {parameter} must be at least {least}, got {value}")
    return value


def above(node: str, parameter: str, value: float, bound: float) -> float:
    """Return ``value`` if it is a finite number above ``bound``.

    Raises:
        TypeError: it is no number.
        ValueError: it is not above, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise TypeError(f"node {node!r}: {parameter} must be a number, got {type(value).__name__}")
    if not (math.isfinite(value) and value > bound):
        raise ValueError(f"node {node!r}: {parameter} must be above {bound}, got {value}")
    return value


def is_coroutine_function(fn: Any) -> bool:
    """Say whether calling ``fn``, a function or an object with ``__call__``, gives a coroutine."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(type(fn), "__call__", None))  # noqa: B004 - it is looked at, not tested for
