"""What may be said about values and errors: the seam in front of every sink.

Nothing here imports the rest of Meridian at module level, so that the lowest layers can build their reprs and error
texts on it.
"""

from __future__ import annotations

from meridian.redaction.errors import ErrorDescription, describe_error
from meridian.redaction.exposure import Exposure, expose, exposure
from meridian.redaction.names import class_name, type_name

__all__ = [
    "ErrorDescription",
    "Exposure",
    "class_name",
    "describe_error",
    "expose",
    "exposure",
    "type_name",
]
