"""What the exit code of a command says."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from meridian.redaction import redactor


class Code(IntEnum):
    """Exit codes of every command."""

    OK = 0
    """What was asked for is done: a graph ran to its end, or to the end that was asked for; a graph is valid."""
    FAILED = 1
    """The run failed, the graph is invalid, lint found errors, a process doesn't answer, or a file can't be written."""
    USAGE = 2
    """The command line is wrong, the target can't be loaded, or there is no such process to look at; nothing was done."""
    MISSING = 3
    """A package of an extra is missing; the message says what to install."""
    INTERRUPTED = 130
    """SIGINT (Ctrl-C) came; a run was drained and reported first."""
    TERMINATED = 143
    """SIGTERM came; a run was drained and reported first."""


class CommandError(Exception):
    """A command can't do what was asked; its text says the value, the place and the fix.

    Whatever it is made with goes through the redaction policy, the traceback of the user's own code included.

    Attributes:
        code: What to exit with.
        details: Further lines for the terminal, such as the traceback of the user's own code.
        extra: Further fields for the JSON object.
    """

    def __init__(
        self, text: str, *, code: Code = Code.USAGE, details: str = "", extra: dict[str, Any] | None = None
    ) -> None:
        self.code = code
        told = redactor()
        self.details = told.document(details)
        self.extra = {key: told.data(value, max_items=None) for key, value in (extra or {}).items()}
        super().__init__(told.text(text))
