"""The one policy in force, and the functions that ask it.

Every sink asks `redactor()` when something leaves, so that a policy holds from the moment it is installed.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meridian.redaction.applied import Redactor
    from meridian.redaction.errors import ErrorDescription
    from meridian.redaction.policy import Policy

VARIABLE = "MERIDIAN_REDACTION"
"""Names the file of the policy that holds in this process."""

_lock = threading.Lock()
_redactor: Redactor | None = None
"""Made when it is asked for, since the modules that it takes are not imported before."""
_file: str | None = None
"""The file whose policy was put in force last."""


def redactor() -> Redactor:
    """Return the redactor of the policy in force."""
    return _redactor or _default()


def _default() -> Redactor:
    """Put the default policy in force, unless there is another by now."""
    global _redactor
    from meridian.redaction.applied import Redactor
    from meridian.redaction.policy import Policy

    with _lock:
        if _redactor is None:
            _redactor = Redactor(Policy())
        return _redactor


def describe_error(exc: BaseException) -> ErrorDescription:
    """Describe an exception without its payload; never raises, whatever the exception is made of."""
    return redactor().describe(exc)


def install(policy: Policy) -> Policy:
    """Put a policy in force, in this whole process; counts go on.

    Each thing that it lets out and the one before didn't writes the warning event ``redaction.exposure_widened``, and so
    does each rule of the one before that no longer holds.

    Args:
        policy: The new one. It was checked when it was made, so nothing can go wrong half-way.

    Returns:
        The policy before, to be put back with another call.
    """
    global _redactor
    from meridian.redaction.applied import Redactor

    redactor()
    with _lock:
        assert _redactor is not None
        before = _redactor.policy
        _redactor = Redactor(policy, _redactor.counts)
    for exposed in policy.expose:
        if not before.exposes(exposed.what):
            _announce(exposed.what, exposed.reason, policy)
    for rule in before.rules:
        if rule not in policy.rules:
            _announce(rule.name, "the rule was left out of the new policy", policy)
    return before


def install_file(path: str | os.PathLike[str]) -> Policy:
    """Read a policy from a file and put it in force; it is read once, and later changes of the file are not seen.

    Args:
        path: The file; see `Policy.load`.

    Returns:
        The policy before.

    Raises:
        PolicyError: it can't be read, or has a mistake; the policy before stays in force.
    """
    global _file
    from meridian.observability.logging import get_logger  # stands above this layer
    from meridian.redaction.names import clean
    from meridian.redaction.policy import Policy, PolicyError

    name = clean(os.path.basename(os.path.abspath(path)))
    try:
        policy = Policy.load(path)
    except (OSError, ValueError) as error:
        if isinstance(error, PolicyError):
            raise
        why = (error.strerror if isinstance(error, OSError) else None) or "it is no path"
        raise PolicyError(f"can't be read: {why}", file=name) from None
    before = install(policy)
    _file = name
    get_logger().debug(
        "redaction.policy_read",
        "A policy was read from a file; later changes of the file are not seen.",
        file=name,
        policy=policy.name,
    )
    return before


def install_asked() -> None:
    """Put the policy in force whose file `VARIABLE` names, unless one was read from a file already.

    Raises:
        PolicyError: as `install_file`.
    """
    asked = os.environ.get(VARIABLE)
    if asked and _file is None:
        install_file(asked)


def counts() -> dict[str, int]:
    """Return how often each rule was applied in this process, sorted by name; what it was applied to isn't kept."""
    return redactor().counts.read()


def _announce(what: str, reason: str, policy: Policy) -> None:
    # Imported here because events and the logger stand above this layer.
    from meridian.observability.events import get_events
    from meridian.observability.logging import get_logger

    get_events().record("redaction.widened", what=what, reason=reason)

    get_logger().warn(
        "redaction.exposure_widened",
        "More may now leave the process than before.",
        what=what,
        reason=reason,
        policy=policy.name,
    )


def _renew_locks() -> None:
    global _lock
    _lock = threading.Lock()
    if _redactor is not None:
        _redactor.counts.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
