"""What can go wrong with a bundle."""

from __future__ import annotations

from meridian.core.errors import MeridianError


class DiagnosticsError(MeridianError):
    """A bundle could not be made, written or read; the text says why."""


class BundleError(DiagnosticsError):
    """A file is no bundle, or not the one that was made.

    Attributes:
        member: The first member that is wrong, or ``None`` where the file as a whole is.
    """

    def __init__(self, text: str, member: str | None = None) -> None:
        super().__init__(text)
        self.member = member
