"""What validation finds."""

from __future__ import annotations

from typing import NamedTuple


class ValidationIssue(NamedTuple):
    """One finding about a graph.

    Attributes:
        level: ``"error"`` refuses the run, ``"warning"`` doesn't.
        code: Stable upper-case id, such as ``NO_SRC_PORT``.
        message: The place, the value, and the fix, in one sentence.
    """

    level: str
    code: str
    message: str
