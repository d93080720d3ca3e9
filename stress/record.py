"""What a play leaves: result.json, its verdicts and exit codes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

KEPT, INCONCLUSIVE, PARTIAL, BROKEN = "kept", "inconclusive", "partial", "broken"
"""All invariants held; they held as far as could be told; interrupted before the end; one was broken, or the scenario was."""

_EXIT_CODES: Final = {KEPT: 0, INCONCLUSIVE: 0, PARTIAL: 130, BROKEN: 1}
USAGE: Final = 2
"""Exit code of a command that makes no sense, or has nowhere to write."""


class UnwritableError(Exception):
    """A result can't be written."""


def exit_code(*verdicts: str) -> int:
    """Return the exit code for plays with these verdicts: a broken one outweighs an interruption."""
    codes = {_EXIT_CODES[verdict] for verdict in verdicts}
    return 1 if 1 in codes else max(codes, default=0)


def write(path: Path, result: dict[str, Any]) -> None:
    """Write ``result`` to ``path``, all of it or nothing.

    Raises:
        UnwritableError: the disk is full, say.
    """
    text = json.dumps(result, indent=1) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``; as `write`."""
    beside = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise UnwritableError(f"can't write {path}: {error.strerror or type(error).__name__}") from error


def read(path: Path) -> dict[str, Any] | None:
    """Return what was written to ``path``; ``None`` if there is nothing, or nothing that makes sense."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "verdict" in found else None
