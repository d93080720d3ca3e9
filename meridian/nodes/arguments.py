"""What constructors of nodes say about arguments that can't be meant: the node, the parameter, the value, what is allowed."""

from __future__ import annotations

import inspect
import math
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from meridian.nodes.alarm import MILLISECOND
from meridian.nodes.base import validate_callable

if TYPE_CHECKING:
    from collections.abc import Callable

    from meridian.core.node import Node

E = TypeVar("E", bound=Enum)


def wrong(error: type[Exception], node: Node, parameter: str, value: object, allowed: str) -> Exception:
    """Return an error about one argument; its text shows the value, so no message's payload may be one."""
    return error(f"{type(node).__name__} {node.name!r}: {parameter} must be {allowed}, got {value!r}")


def number(node: Node, parameter: str, value: Any) -> float:
    """Return a finite number as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong(TypeError, node, parameter, value, "a number")
    if not math.isfinite(value):
        raise wrong(ValueError, node, parameter, value, "a finite number")
    return value


def positive(node: Node, parameter: str, value: Any) -> float:
    """Return a finite number above 0."""
    if number(node, parameter, value) <= 0:
        raise wrong(ValueError, node, parameter, value, "above 0")
    return float(value)


def interval(node: Node, parameter: str, milliseconds: Any) -> int:
    """Return an interval in microseconds; less than 1 ms counts as 1 ms, as in v1."""
    return round(max(number(node, parameter, milliseconds), 1) * MILLISECOND)


def whole(node: Node, parameter: str, value: Any, least: int, most: int | None = None) -> int:
    """Return a whole number from ``least`` up, to ``most`` if given."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(TypeError, node, parameter, value, "a whole number")
    if value < least:
        raise wrong(ValueError, node, parameter, value, f"at least {least}")
    if most is not None and value > most:
        raise wrong(ValueError, node, parameter, value, f"at most {most}")
    return value


def size(node: Node, parameter: str, value: Any) -> int:
    """Return a whole number of at least 1."""
    return whole(node, parameter, value, 1)


def member(node: Node, parameter: str, value: Any, enum: type[E]) -> E:
    """Return a member of ``enum``, given as such or by its value."""
    try:
        return enum(value)
    except ValueError:
        error = ValueError if isinstance(value, str) else TypeError
        allowed = " or ".join(f"{enum.__name__}.{each.name}" for each in enum)
        raise wrong(error, node, parameter, value, allowed) from None


def flag(node: Node, parameter: str, value: Any) -> bool:
    """Return a bool."""
    if not isinstance(value, bool):
        raise wrong(TypeError, node, parameter, value, "True or False")
    return value


def functions(node: Node, parameter: str, values: Any) -> list[Callable[..., Any]]:
    """Return a list of functions.

    Raises:
        TypeError: it is no list or tuple.
        ValueError: one of them can't be called.
    """
    if not isinstance(values, (list, tuple)):
        raise wrong(TypeError, node, parameter, values, "a list of functions")
    for each in values:
        validate_callable(each)
    return list(values)


def is_coroutine_function(fn: Any) -> bool:
    """Say whether calling ``fn``, a function or an object with ``__call__``, gives a coroutine."""
    called = getattr(type(fn), "__call__", None)  # noqa: B004 - it is looked at, not tested for
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(called)
