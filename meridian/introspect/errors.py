"""What can go wrong when somebody looks."""

from __future__ import annotations

from meridian.core.errors import MeridianError


class IntrospectionError(MeridianError):
    """A run could not be looked at; the text says why, and what to do."""


class NothingRunsError(IntrospectionError, LookupError):
    """There is no run to look at, or it isn't said which."""
