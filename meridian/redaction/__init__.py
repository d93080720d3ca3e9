"""What may be said about values and errors: the seam in front of every sink.

::

    vocabulary      what a rule looks at, what it does, which rule wins
    policy          what may leave the process, as one frozen object; policy_file reads it from TOML
    detectors       secrets and personal data in texts; patterns has their regular expressions, encoded looks within
                    base64 and its like
    actions         what is left of a value
    applied         one policy at work
    fields          declared classes, read without running their code
    installed       the one policy in force
    errors, names   what is said about exceptions and classes

Nothing here imports the rest of Meridian at module level, so that the lowest layers can build their reprs and error
texts on it. Rules, policies and detectors are imported when something leaves the process for the first time: a program
that starts doesn't wait for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from meridian.redaction.errors import ErrorDescription
from meridian.redaction.exposure import Exposure, expose, exposure
from meridian.redaction.installed import (
    counts,
    describe_error,
    install,
    install_asked,
    install_file,
    redactor,
)
from meridian.redaction.names import class_name, type_name

if TYPE_CHECKING:
    from meridian.redaction.applied import Redactor
    from meridian.redaction.policy import Exposed, Policy, PolicyError
    from meridian.redaction.vocabulary import Classification, Drop, Generalise, Hash, Mask, Rule, Truncate

_HOME = {
    "Exposed": "policy",
    "Policy": "policy",
    "PolicyError": "policy",
    "Redactor": "applied",
    **dict.fromkeys(
        ("Classification", "Drop", "Generalise", "Hash", "Mask", "Rule", "Truncate"), "vocabulary"
    ),
}
"""Which module has what is imported when it is asked for."""

__all__ = [
    "Classification",
    "Drop",
    "ErrorDescription",
    "Exposed",
    "Exposure",
    "Generalise",
    "Hash",
    "Mask",
    "Policy",
    "PolicyError",
    "Redactor",
    "Rule",
    "Truncate",
    "class_name",
    "counts",
    "describe_error",
    "expose",
    "exposure",
    "install",
    "install_asked",
    "install_file",
    "redactor",
    "type_name",
]

if not TYPE_CHECKING:  # type checkers would take every misspelt name for an Any

    def __getattr__(name: str) -> Any:
        """Import what is asked for, and keep it."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        return value

    def __dir__() -> list[str]:
        """Return the names there are, loaded or not."""
        return sorted({*globals(), *__all__})
