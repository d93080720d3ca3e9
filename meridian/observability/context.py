"""What surrounds a log line or a span: the trace id, the context fields, and what is being handled.

There is one trace context; logging and tracing are two views of it. It has two sources:

* what somebody set here, with `set_trace_id`, `with_context` or a span;
* the message that the runtime is handling. Setting a context variable for each message would cost more than delivering
  it, so the runtime installs a function that is asked only when somebody wants to know (`install_handled`).

The message wins over what was set outside its handler, and what a handler sets wins until the handler is done with that
message. So a trace id neither leaks from one message into the next nor hides the one in hand.

This module also counts reconfigurations: `generation` lets a hot loop notice them with one comparison of integers.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from contextvars import Token
    from random import Random

_T = TypeVar("_T")


class Handled(NamedTuple):
    """What the runtime is handling in the current context.

    Attributes:
        trace_id: Trace id of the message, if it has one.
        fields: What log lines say about it, such as node and port.
        marker: Any object that is another one for each message; compared by identity.
    """

    trace_id: str | None
    fields: Mapping[str, object]
    marker: object


class _Set(NamedTuple):
    """A trace id that was set, and what was being handled then."""

    trace_id: str | None
    marker: object


_NOTHING_SET = _Set(None, None)
_NO_FIELDS: Mapping[str, object] = {}


def _nothing_handled() -> Handled | None:
    return None


_trace: ContextVar[_Set] = ContextVar("meridian_trace", default=_NOTHING_SET)
_fields: ContextVar[Mapping[str, object]] = ContextVar("meridian_fields", default=_NO_FIELDS)
_handled: Callable[[], Handled | None] = _nothing_handled
_generation = 0


def generation() -> int:
    """Return a number that changes whenever logging, metrics or tracing is configured anew."""
    return _generation


def bump_generation() -> None:
    """Say that something was configured anew; called after the change took effect."""
    global _generation
    _generation += 1


def install_handled(source: Callable[[], Handled | None] | None) -> None:
    """Say who knows what is being handled; ``None`` for nobody.

    Args:
        source: Called for each line, span or question for the trace id, in the context that asks. Returns ``None``
            outside a handler. Must not raise and should not compute more than it has at hand.
    """
    global _handled
    _handled = source or _nothing_handled


def set_trace_id(trace_id: str | None) -> None:
    """Set the trace id of the current context; ``None`` clears it.

    Inside a handler this holds until the handler is done with the message.
    """
    push_trace_id(trace_id)


def push_trace_id(trace_id: str | None) -> Token[_Set]:
    """Set the trace id and return what `pop_trace_id` needs to put the previous one back."""
    handled = _handled()
    return _trace.set(_Set(trace_id, None if handled is None else handled.marker))


def pop_trace_id(token: Token[_Set]) -> None:
    """Undo one `push_trace_id`; a no-op in another context than the one it was made in."""
    restore(_trace, token)


def is_handling() -> bool:
    """Return whether this is a handler of a run."""
    return _handled() is not None


def get_trace_id() -> str | None:
    """Return the trace id of the current context, or ``None``."""
    return _resolve(_handled())


def log_fields() -> dict[str, object]:
    """Return what the current context adds to a log line; a fresh dict, the trace id first if there is one."""
    handled = _handled()
    trace_id = _resolve(handled)
    made: dict[str, object] = {} if trace_id is None else {"trace_id": trace_id}
    if handled is not None:
        made.update(handled.fields)
    made.update(_fields.get())
    return made


def _resolve(handled: Handled | None) -> str | None:
    trace_id, marker = _trace.get()
    if handled is not None:
        if trace_id is not None and marker is handled.marker:
            return trace_id
        if handled.trace_id is not None:
            return handled.trace_id
    # What an earlier handler set in this context ended with its message.
    return trace_id if marker is None else None


def restore(variable: ContextVar[_T], token: Token[_T]) -> None:
    """Put a context variable back; a no-op in another context than the one where ``token`` was made."""
    # A generator that is closed by the garbage collector, or in another task, leaves its block in a context that never
    # saw the value: there is nothing to put back there.
    try:
        variable.reset(token)
    except ValueError:
        pass


@contextmanager
def with_context(**fields: object) -> Generator[None, None, None]:
    """Add fields to every log line of a block; nests, and restores at the end.

    ``trace_id`` goes to the trace context that spans use too. Works in coroutines: a task sees the fields of the block
    it was started in.

    Args:
        fields: Any keys; an inner block's value hides an outer one's. ``None`` as ``trace_id`` leaves it as it is.
    """
    trace_id = fields.pop("trace_id", None)
    fields_token = _fields.set({**_fields.get(), **fields})
    trace_token = None if trace_id is None else push_trace_id(str(trace_id))
    try:
        yield
    finally:
        restore(_fields, fields_token)
        if trace_token is not None:
            pop_trace_id(trace_token)


def generate_trace_id(random: Random | None = None) -> str:
    """Return a new trace id: a version 4 UUID with dashes.

    Args:
        random: Where its bits come from; ``None`` means the system's entropy.
    """
    # By hand: it saves importing uuid, and a third of the time of `str(uuid4())`.
    bits = int.from_bytes(os.urandom(16), "big") if random is None else random.getrandbits(128)
    bits = bits & ~(0xF << 76) & ~(0x3 << 62) | 4 << 76 | 2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
