"""The one switch that widens what leaves the process; narrow unless somebody says otherwise."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exposure:
    """What may be shown, at one moment.

    `expose` returns the state that it replaced. Used as a context manager, that object puts itself back at the end.

    Attributes:
        error_messages: Texts of errors that were not raised by Meridian itself may be shown.
    """

    error_messages: bool = False

    def __enter__(self) -> Exposure:
        return self

    def __exit__(self, *exc_info: object) -> None:
        expose(error_messages=self.error_messages)


_lock = threading.Lock()
_current = Exposure()


def exposure() -> Exposure:
    """Return what may be shown now."""
    return _current


def expose(*, error_messages: bool) -> Exposure:
    """Allow or forbid showing the texts of other people's errors, in this whole process.

    An error text can carry anything, payloads and secrets included. Each change from forbidden to allowed writes one
    warning event, ``redaction.exposure_widened``.

    Args:
        error_messages: ``True`` shows texts, ``False`` hides them again.

    Returns:
        The state before the call; as a context manager it restores that state::

            with expose(error_messages=True):
                scheduler.run()
    """
    global _current
    with _lock:
        before, _current = _current, Exposure(error_messages=error_messages)
    if error_messages and not before.error_messages:
        _announce_widening()
    return before


def _announce_widening() -> None:
    # Imported here because the logger stands above this layer: it builds its own lines with `type_name`.
    from meridian.observability.logging import get_logger

    get_logger().warn(
        "redaction.exposure_widened",
        "Texts of errors are now shown, and may contain payloads.",
        error_messages=True,
    )
