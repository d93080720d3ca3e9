"""What goes wrong on a network, told without payloads."""

from __future__ import annotations

from meridian.core.errors import MeridianError

__all__ = ["HttpError", "NetworkError"]


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
