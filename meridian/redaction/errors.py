"""What is said about an exception: its class and where it came from, but not its text.

An exception's text is written by code that handles payloads, so it may contain one (``KeyError`` is nothing but). The
same holds for its notes, its cause and its context. The texts of Meridian's own errors are payload-free by construction
and say so with a class attribute, ``payload_free = True``. Whatever is shown has gone through the rules of the policy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from meridian.redaction.names import clean, module_name

if TYPE_CHECKING:
    from types import CodeType, TracebackType

REDACTED = "[redacted]"
UNPRINTABLE = "[unprintable]"
NOWHERE = "unknown"

_MAX_MESSAGE_LENGTH = 1000
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# Meridian's own tests play the part of user code.
_TESTS = os.path.join(_PACKAGE, "_tests") + os.sep

_MRO: Any = type.__dict__["__mro__"]
_DICT: Any = type.__dict__["__dict__"]


@dataclass(frozen=True, slots=True)
class ErrorDescription:
    """What may leave the process about one exception.

    Attributes:
        type: Qualified name of its class, such as ``myapp.errors.ParseError`` or ``ValueError``.
        where: ``file.py:line in function`` of the innermost frame outside Meridian (without the folder), or
            ``unknown`` if it was never raised.
        message: Its text where that may be shown, else ``[redacted]``.
    """

    type: str
    where: str
    message: str


def place_of(traceback: TracebackType | None) -> str:
    """Return the file, line and function of the innermost frame outside Meridian."""
    innermost = outside = None
    while traceback is not None:
        innermost = traceback
        if not is_ours(traceback.tb_frame.f_code):
            outside = traceback
        traceback = traceback.tb_next
    shown = outside or innermost
    if shown is None:
        return NOWHERE
    code = shown.tb_frame.f_code
    # Both separators: code compiled elsewhere keeps the path of that machine.
    name = code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f"{clean(name)}:{shown.tb_lineno} in {clean(code.co_qualname)}"


def is_ours(code: CodeType) -> bool:
    """Return whether code is Meridian's own, and not of who uses it."""
    path = code.co_filename
    return path.startswith(_PACKAGE) and not path.startswith(_TESTS)


def clean_lines(text: str) -> str:
    """Return ``text`` with each line cleaned, at most 1,000 characters long; lists of problems keep their lines."""
    lines = text[:_MAX_MESSAGE_LENGTH].split("\n")
    return "\n".join(clean(line, _MAX_MESSAGE_LENGTH) for line in lines)


def is_payload_free(cls: type) -> bool:
    """Return whether texts of this class may be shown: whether the class that declares the attribute vouches for this class too.

    A class vouches for itself. It doesn't vouch for what strangers derive from it, or else a user's own subclass of a
    Meridian error, with a payload in its text, would be trusted unasked; Meridian's own subclasses inherit.
    """
    for base in cast("tuple[type, ...]", _MRO.__get__(cls)):
        declared = _DICT.__get__(base).get("payload_free")
        if declared is not None:
            return declared is True and (base is cls or _is_meridians(cls))
    return False


def _is_meridians(cls: type) -> bool:
    module = module_name(cls)
    return module == "meridian" or (
        module.startswith("meridian.") and not module.startswith("meridian._tests.")
    )
