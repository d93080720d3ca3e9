"""Small helpers that v1 published; kept under their names.

``ids``, ``time``, ``validation`` and ``validators`` are modules of their own and imported at use.
"""

from __future__ import annotations

import os

from meridian.utils.ids import new_trace_id
from meridian.utils.time import monotonic_ns as monotonic_ns  # public, though v1's __all__ leaves it out
from meridian.utils.time import utc_now_iso

__all__ = ["new_trace_id", "require", "utc_now_iso"]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def require(condition: object, message: str = "Precondition failed") -> None:
    """Check a precondition.

    Raises:
        ValueError: ``condition`` is false; the text is ``message``.
    """
    if not condition:
        raise ValueError(message)


def env_flag(name: str, default: bool = False) -> bool:
    """Return an environment variable as a boolean.

    Args:
        name: The variable. ``1``, ``true``, ``yes`` and ``on`` are true, ``0``, ``false``, ``no`` and ``off`` are
            false, in any case.
        default: The answer for everything else, and where the variable isn't set.
    """
    value = os.environ.get(name, "").strip().lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    return default
