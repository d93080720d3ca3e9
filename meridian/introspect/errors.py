"""What can go wrong when somebody looks."""

from __future__ import annotations

from meridian.core.errors import MeridianError


class IntrospectionError(MeridianError):
    """A run could not be looked at; the text says why, and what to do."""


class NothingRunsError(IntrospectionError, LookupError):
    """There is no run to look at, or it isn't said which."""


class ServeError(IntrospectionError):
    """The socket can't be opened where it is wanted."""


class NoSuchProcessError(IntrospectionError):
    """No process has that number."""


class NoSocketError(IntrospectionError):
    """The process serves no socket, or nobody listens on it any more."""


class NotPermittedError(IntrospectionError):
    """The socket belongs to somebody else."""


class NoAnswerError(IntrospectionError):
    """The process didn't answer in time: it is stopped, or something holds its interpreter."""


class OtherVersionError(IntrospectionError):
    """The process speaks another version of the protocol, or of the snapshot."""


class BadAnswerError(IntrospectionError):
    """An answer was cut short, or makes no sense."""


class ConnectionLostError(BadAnswerError):
    """The connection ended before the answer did: its process ended, or let us go."""
