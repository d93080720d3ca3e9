"""What the scripts share that write pages from the sources: reading marks of tests, writing or checking the page."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def ids_of(node: ast.expr, mark: str) -> Iterator[str]:
    """Yield the ids of each `pytest.mark.<mark>(...)` in a decorator or a `pytestmark` value."""
    for call in ast.walk(node):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == mark
            and isinstance(call.func.value, ast.Attribute)
            and call.func.value.attr == "mark"
        ):
            for argument in call.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def write_or_check(argv: list[str], doc: str | None, root: Path, path: Path, page: Callable[[], str]) -> int:
    """Write the page, or with ``--check`` only say whether it is up to date; return the exit code.

    Args:
        argv: What follows the command.
        doc: What to say about a wrong command line.
        root: The project's folder.
        path: The page, from there.
        page: Makes its text; a ValueError tells what is wrong in the sources.
    """
    try:
        text = page()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    target = root / path
    if argv == ["--check"]:
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            print(f"{path} is out of date: run `make fmt`", file=sys.stderr)
            return 1
        return 0
    if argv:
        print(doc, file=sys.stderr)
        return 2
    target.write_text(text, encoding="utf-8")
    return 0
