"""The short way to show the texts of errors: one switch of the policy in force."""

from __future__ import annotations

from dataclasses import dataclass, replace

from meridian.redaction.installed import install, redactor

_WHAT = "error_messages"


@dataclass(frozen=True, slots=True)
class Exposure:
    """What may be shown, at one moment.

    `expose` returns the state that it replaced. Used as a context manager, that object puts itself back at the end.

    Attributes:
        error_messages: Texts of errors that were not raised by Meridian itself may be shown.
    """

    error_messages: bool = False

    def __enter__(self) -> Exposure:
        return self

    def __exit__(self, *exc_info: object) -> None:
        expose(error_messages=self.error_messages)


def exposure() -> Exposure:
    """Return what may be shown now."""
    return Exposure(error_messages=redactor().policy.exposes(_WHAT))


def expose(*, error_messages: bool) -> Exposure:
    """Allow or forbid showing the texts of other people's errors, in this whole process.

    An error text can carry anything, payloads included; the other rules of the policy still hold for it. Each change from
    forbidden to allowed writes one warning event, ``redaction.exposure_widened``.

    Args:
        error_messages: ``True`` shows texts, ``False`` hides them again.

    Returns:
        The state before the call; as a context manager it restores that state::

            with expose(error_messages=True):
                scheduler.run()
    """
    from meridian.redaction.policy import Exposed

    before = exposure()
    policy = redactor().policy
    if error_messages != before.error_messages:
        others = tuple(each for each in policy.expose if each.what != _WHAT)
        added = (Exposed(_WHAT, "expose() was called"),) if error_messages else ()
        install(replace(policy, expose=others + added))
    return before
