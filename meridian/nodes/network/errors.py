"""What goes wrong on a network, told without payloads."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from meridian.core.errors import MeridianError

__all__ = ["HttpError", "MissingExtraError", "NetworkError", "load"]


class NetworkError(MeridianError, OSError):
    """A request, a connection or a message for one failed; the text names neither addresses nor contents."""


class HttpError(NetworkError):
    """A request failed.

    Attributes:
        status: What the server answered, or ``None`` if it wasn't an answer that failed.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(f"HTTP request failed: {text}")


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
