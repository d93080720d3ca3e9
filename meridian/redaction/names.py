"""Names of classes that are safe to print, whatever the class does to hide or fake them.

A value under description may be hostile or half built: its ``__class__`` can lie, its metaclass can raise. So nothing
is asked of the value or of its class; `type`'s own descriptors are applied to the real class instead.
"""

from __future__ import annotations

from typing import Any, cast

_MAX_LENGTH = 200

# `cls.__name__` would run a metaclass's own `__getattribute__` or property; these read the type object itself.
_NAME: Any = type.__dict__["__name__"]
_QUALNAME: Any = type.__dict__["__qualname__"]
_MODULE: Any = type.__dict__["__module__"]


def type_name(value: object) -> str:
    """Return the placeholder that stands for a value in reprs and logs, such as ``<int>``."""
    return f"<{clean(cast(str, _NAME.__get__(type(value))))}>"


def class_name(cls: type) -> str:
    """Return the qualified name of a class, such as ``myapp.nodes.Parser``; builtins go without their module."""
    qualname = clean(cast(str, _QUALNAME.__get__(cls)))
    module = module_name(cls)
    return qualname if module in ("", "builtins") else f"{clean(module)}.{qualname}"


def module_name(cls: type) -> str:
    """Return the name of the module a class says it lives in, or ``""``."""
    try:
        module: object = _MODULE.__get__(cls)
    except AttributeError:  # a class body may delete it
        return ""
    return str.__str__(module) if isinstance(module, str) else ""


def clean(text: str, limit: int = _MAX_LENGTH) -> str:
    """Return ``text`` on one line, without control characters and at most ``limit`` characters long.

    Names come from code, but code can be generated: a name must not be able to forge a log line or flood one.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
