"""What may be said about values and errors: the seam in front of every sink.

::

    vocabulary      what a rule looks at, what it does, which rule wins
    policy          what may leave the process, as one frozen object; policy_file reads it from TOML
    detectors       secrets and personal data in texts; patterns has their regular expressions, encoded looks within
                    base64 and its like
    actions         what is left of a value
    redactor        one policy at work
    fields          declared classes, read without running their code
    installed       the one policy in force
    errors, names   what is said about exceptions and classes

Nothing here imports the rest of Meridian at module level, so that the lowest layers can build their reprs and error
texts on it.
"""

from __future__ import annotations

from meridian.redaction.errors import ErrorDescription
from meridian.redaction.exposure import Exposure, expose, exposure
from meridian.redaction.installed import counts, describe_error, install, redactor
from meridian.redaction.names import class_name, type_name
from meridian.redaction.policy import Exposed, Policy, PolicyError
from meridian.redaction.redactor import Redactor
from meridian.redaction.vocabulary import Classification, Drop, Generalise, Hash, Mask, Rule, Truncate

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
    "redactor",
    "type_name",
]
