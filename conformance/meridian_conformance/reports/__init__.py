"""What a run leaves behind. Each report is a function of the result alone, so equal results give equal files.

result_file.py  result.json and its schema (result.schema.json)
junit.py        junit.xml for continuous integration
html.py         report.html for people, in the style of page.css
badge.py        badge.json and badge.svg
console.py      the table for terminals, and Markdown
matrix.py       several results side by side
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meridian_conformance import failures
from meridian_conformance.reports import badge, html, junit, result_file

if TYPE_CHECKING:
    from pathlib import Path

    from meridian_conformance.verdicts import Result


def write(result: Result, folder: Path) -> list[Path]:
    """Write every report of a result into ``folder``, and each failing history into its ``failures``.

    Histories of an earlier run in that folder are removed: they would be taken for this one's.

    Returns:
        What was written.

    Raises:
        OSError: it can't be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, content in (
        ("result.json", result_file.dumps(result)),
        ("junit.xml", junit.dumps(result)),
        ("report.html", html.dumps(result)),
        ("badge.json", badge.dumps(result)),
        ("badge.svg", badge.svg(result)),
    ):
        path = folder / name
        path.write_text(content, encoding="utf-8", newline="\n")
        written.append(path)
    for old in (folder / "failures").glob("*-*.json"):
        old.unlink()
    for found in result.rules:
        written += [failures.write(folder / "failures", each.trace) for each in found.failures[:1]]
    return written
