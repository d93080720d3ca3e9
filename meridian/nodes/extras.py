"""Optional packages, imported where they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from meridian.core.errors import MeridianError

__all__ = ["MissingExtraError", "load"]


class MissingExtraError(MeridianError, ImportError):
    """A package isn't installed that this use of a node needs; says what to install."""


def load(module: str, extra: str, what: str) -> Any:
    """Import an optional package at its first use.

    Args:
        module: Its name.
        extra: The extra that brings it.
        what: What needs it.

    Raises:
        MissingExtraError: it isn't installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{what} needs {package}, which isn't installed: pip install 'meridian-runtime[{extra}]'"
        ) from error
